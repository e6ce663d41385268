//! What differs today, what differs by design, and the score.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::path::Path;

use super::run::Outcome;

const EXPECTED: &str = "expected-failures.txt";
const BY_DESIGN: &str = "expected-differences.txt";
const SCORE_BEGIN: &str = "<!-- score of tests/redis: made by the test -->";
const SCORE_END: &str = "<!-- end of the score of tests/redis -->";

/// The two files; a line without `#` is the label of a script's line.
pub(super) struct Lists {
    expected: Vec<String>,
    by_design: Vec<String>,
}

impl Lists {
    pub(super) fn read(folder: &Path) -> Self {
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a list of differences");
        let lines = |text: &str| text.lines().filter(|line| is_label(line)).map(str::to_owned).collect();
        let by_design = read(BY_DESIGN);
        let mut reason = false;
        for line in by_design.lines() {
            assert!(reason || !is_label(line), "{BY_DESIGN} gives no reason for: {line}");
            reason = line.starts_with('#') || (reason && is_label(line));
        }
        Self { expected: lines(&read(EXPECTED)), by_design: lines(&by_design) }
    }

    pub(super) fn by_design_count(&self) -> usize {
        self.by_design.len()
    }

    /// Differences that nobody expects, and, over all files, lines that name no difference by design.
    pub(super) fn faults(&self, outcomes: &[Outcome], complete: bool) -> Vec<String> {
        let known: HashSet<&str> = self.expected.iter().chain(&self.by_design).map(String::as_str).collect();
        let unknown = |outcome: &&Outcome| outcome.difference.is_some() && !known.contains(outcome.label.as_str());
        let mut faults: Vec<String> = outcomes.iter().filter(unknown).map(describe).collect();
        if complete {
            let differing = differing(outcomes);
            let stale = self.by_design.iter().filter(|label| !differing.contains(label.as_str()));
            faults.extend(stale.map(|label| format!("{BY_DESIGN} has a line that does not differ: {label}")));
        }
        faults
    }

    /// How many of those expected to fail are equal, or gone.
    pub(super) fn equal_now(&self, outcomes: &[Outcome]) -> usize {
        let differing = differing(outcomes);
        self.expected.iter().filter(|label| !differing.contains(label.as_str())).count()
    }

    pub(super) fn update(&mut self, outcomes: &[Outcome], new: bool) {
        let old: HashSet<&str> = self.expected.iter().map(String::as_str).collect();
        let by_design: HashSet<&str> = self.by_design.iter().map(String::as_str).collect();
        let differs = |outcome: &&Outcome| outcome.difference.is_some() && !by_design.contains(outcome.label.as_str());
        let labels = outcomes.iter().filter(differs).map(|outcome| outcome.label.as_str());
        self.expected = labels.filter(|label| new || old.contains(label)).map(str::to_owned).collect();
    }

    pub(super) fn write(&self, folder: &Path) {
        let mut text = String::from("# Lines that do not yet do what Redis does. Made by the test: see mod.rs.\n");
        for label in &self.expected {
            text.push_str(label);
            text.push('\n');
        }
        std::fs::write(folder.join(EXPECTED), text).expect("the list is written");
    }

    /// The score as a table in Markdown.
    pub(super) fn score(&self, outcomes: &[Outcome]) -> String {
        let by_design: HashSet<&str> = self.by_design.iter().map(String::as_str).collect();
        // Of a group: lines, equal ones, those that differ by design.
        let mut groups: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
        let mut all = [0; 3];
        for outcome in outcomes {
            let equal = usize::from(outcome.difference.is_none());
            let designed = usize::from(equal == 0 && by_design.contains(outcome.label.as_str()));
            for counts in [groups.entry(&outcome.group).or_default(), &mut all] {
                for (count, more) in counts.iter_mut().zip([1, equal, designed]) {
                    *count += more;
                }
            }
        }
        let mut text = String::from(
            "| group | lines | equal | different by design | equal |\n| --- | ---: | ---: | ---: | ---: |\n",
        );
        for (group, [count, equal, designed]) in groups.iter().map(|(a, c)| (*a, *c)).chain([("**all**", all)]) {
            let percent = equal as f64 * 100.0 / count.max(1) as f64;
            writeln!(text, "| {group} | {count} | {equal} | {designed} | {percent:.1} % |").expect("a text");
        }
        text
    }
}

fn differing(outcomes: &[Outcome]) -> HashSet<&str> {
    let differing = outcomes.iter().filter(|outcome| outcome.difference.is_some());
    differing.map(|outcome| outcome.label.as_str()).collect()
}

fn is_label(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with('#')
}

/// A difference as it is printed.
pub(super) fn describe(outcome: &Outcome) -> String {
    let why = outcome.difference.as_deref().unwrap_or("equal");
    format!("{} (line {})\n    {why}", outcome.label, outcome.line)
}

/// Puts the score between its marks in a page.
pub(super) fn write_score(page: &Path, score: &str) {
    let text = std::fs::read_to_string(page).expect("the page is there");
    let (before, rest) = text.split_once(SCORE_BEGIN).expect("the page has a mark for the score");
    let (_, after) = rest.split_once(SCORE_END).expect("the page has a mark for the end of the score");
    let text = format!("{before}{SCORE_BEGIN}\n\n{score}\n{SCORE_END}{after}");
    std::fs::write(page, text).expect("the page is written");
}
