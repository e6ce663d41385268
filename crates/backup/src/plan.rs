//! What a restore needs: the newest base backup before the target, and the log from there to the target.

use perigee_storage::objects::Objects;

use crate::BackupError;
use crate::base::{self, Base};
use crate::place::{self, LogPlace};

/// Up to where to restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// All that there is.
    End,
    /// Up to this entry, included.
    Index(u64),
    /// All entries up to this time, included: microseconds since the Unix epoch.
    Time(u64),
}

impl Target {
    /// Whether an entry is behind it; `time` as the log counts it.
    pub(crate) fn excludes(self, index: u64, time: u64) -> bool {
        match self {
            Self::End => false,
            Self::Index(last) => index > last,
            Self::Time(micros) => perigee_types::Hlc(time).micros() > micros,
        }
    }
}

/// What a restore needs.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The base backup.
    pub base: Base,
    /// Objects of the archive that follow it without a gap, in order. The last may hold entries behind the target.
    pub logs: Vec<LogPlace>,
    /// Up to where.
    pub target: Target,
}

/// The cluster to restore: the one that is named, or the only one that is there.
///
/// # Errors
/// [`BackupError::Refused`] when there are none or several; [`BackupError::Store`]
pub fn choose_cluster(at: &Objects, named: Option<&str>) -> Result<String, BackupError> {
    let clusters = place::clusters(at)?;
    let refused = |text: String| Err(BackupError::Refused(text));
    match (named, clusters.as_slice()) {
        (Some(named), _) if clusters.iter().any(|known| known == named) => Ok(named.to_owned()),
        (Some(named), _) => refused(format!("there is nothing of cluster {named} at {}", at.location())),
        (None, [only]) => Ok(only.clone()),
        (None, []) => refused(format!("there are no backups at {}", at.location())),
        (None, several) => refused(format!(
            "there are backups of {} clusters at {}: choose one with --cluster\n  {}",
            several.len(),
            at.location(),
            several.join("\n  ")
        )),
    }
}

/// Finds what a restore to `target` needs, from the base backup `named` or the newest that is not behind the target.
///
/// # Errors
/// [`BackupError::Refused`] when there is no such thing; [`BackupError::Damaged`], [`BackupError::Store`]
pub fn plan(at: &Objects, cluster: &str, named: Option<&str>, target: Target) -> Result<Plan, BackupError> {
    let base = choose(at, cluster, named, target)?;
    let logs = following(&place::logs(at, cluster)?, base.index);
    let end = logs.last().map_or(base.index, |log| log.last);
    match target {
        Target::Index(wanted) if wanted > end => Err(BackupError::Refused(format!(
            "entry {wanted} cannot be restored: from backup {} on, the archive reaches to entry {end}",
            base.name
        ))),
        _ => Ok(Plan { base, logs, target }),
    }
}

fn choose(at: &Objects, cluster: &str, named: Option<&str>, target: Target) -> Result<Base, BackupError> {
    let refused = |text: String| Err(BackupError::Refused(text));
    let mut oldest = None;
    // Newest first, and only those that matter: what is wrong with another one is no reason not to restore.
    for (name, objects) in place::bases(at, cluster)?.into_iter().rev() {
        let finished = objects.iter().any(|found| found.path == place::manifest(cluster, &name));
        if !finished || named.is_some_and(|named| named != name) {
            continue;
        }
        if let Some(base) = base::load(at, cluster, &name)? {
            if !target.excludes(base.index, base.time) {
                return Ok(base);
            }
            oldest = Some(base);
        }
    }
    match (named, oldest) {
        (Some(named), None) => refused(format!("cluster {cluster} has no backup {named} that was finished")),
        (None, None) => refused(format!("cluster {cluster} has no backup that was finished")),
        (Some(named), Some(_)) => refused(format!("the target is before backup {named}")),
        (None, Some(base)) => refused(format!("the target is before the oldest backup, {}", base.name)),
    }
}

/// Objects that follow entry `after` without a gap.
pub(crate) fn following(logs: &[LogPlace], after: u64) -> Vec<LogPlace> {
    let (mut found, mut have): (Vec<LogPlace>, u64) = (Vec::new(), after);
    loop {
        let reaching = logs.iter().filter(|log| log.first <= have.saturating_add(1) && log.last > have);
        let Some(next) = reaching.max_by_key(|log| log.last) else { return found };
        have = next.last;
        found.push(next.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_objects_that_reach_furthest_are_taken() {
        let log = |first, last| LogPlace { path: format!("{first}-{last}"), first, last, bytes: 1 };
        let logs = [log(1, 4), log(5, 5), log(5, 9), log(6, 6), log(8, 12), log(14, 20)];
        let check = |after, want: &[&str]| {
            let found: Vec<String> = following(&logs, after).into_iter().map(|log| log.path).collect();
            assert_eq!(found, want, "after {after}");
        };
        check(0, &["1-4", "5-9", "8-12"]);
        check(6, &["5-9", "8-12"]);
        check(12, &[]);
        check(13, &["14-20"]);
        check(20, &[]);
    }
}
