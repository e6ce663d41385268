//! Comparisons with another server: what differs today, what differs by design, and the score.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const EXPECTED: &str = "expected-failures.txt";
const BY_DESIGN: &str = "expected-differences.txt";

/// How one line of a script, a statement or a command, went on both servers.
#[derive(Debug)]
pub struct Outcome {
    /// What the score counts it to.
    pub area: String,
    /// Where it stands in its file.
    pub line: usize,
    /// What the lists know it by: the file, its text and, where the same text stands again, which one it is.
    pub label: String,
    /// What differs.
    pub difference: Option<String>,
}

impl Outcome {
    /// It as it is printed.
    #[must_use]
    pub fn describe(&self) -> String {
        let why = self.difference.as_deref().unwrap_or("equal");
        format!("{} (line {})\n    {why}", self.label, self.line)
    }
}

/// The two files of a comparison's folder; a line without `#` is the label of an outcome.
#[derive(Debug)]
pub struct Lists {
    folder: PathBuf,
    expected: Vec<String>,
    by_design: Vec<String>,
}

impl Lists {
    /// Reads them.
    #[must_use]
    pub fn read(folder: &Path) -> Self {
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a list of differences");
        let lines = |text: &str| text.lines().filter(|line| is_label(line)).map(str::to_owned).collect();
        let by_design = read(BY_DESIGN);
        let mut reason = false;
        for line in by_design.lines() {
            assert!(reason || !is_label(line), "{BY_DESIGN} gives no reason for: {line}");
            reason = line.starts_with('#') || (reason && is_label(line));
        }
        Self { folder: folder.to_owned(), expected: lines(&read(EXPECTED)), by_design: lines(&by_design) }
    }

    /// How many differences are wanted.
    #[must_use]
    pub fn by_design_count(&self) -> usize {
        self.by_design.len()
    }

    /// Differences that nobody expects, and, over all files, lines that name no difference by design.
    #[must_use]
    pub fn faults(&self, outcomes: &[Outcome], complete: bool) -> Vec<String> {
        let known: HashSet<&str> = self.expected.iter().chain(&self.by_design).map(String::as_str).collect();
        let unknown = |outcome: &&Outcome| outcome.difference.is_some() && !known.contains(outcome.label.as_str());
        let mut faults: Vec<String> = outcomes.iter().filter(unknown).map(Outcome::describe).collect();
        if complete {
            let differing = differing(outcomes);
            let stale = self.by_design.iter().filter(|label| !differing.contains(label.as_str()));
            faults.extend(stale.map(|label| format!("{BY_DESIGN} has a line that does not differ: {label}")));
        }
        faults
    }

    /// How many of those expected to fail are equal, or gone.
    #[must_use]
    pub fn equal_now(&self, outcomes: &[Outcome]) -> usize {
        let differing = differing(outcomes);
        self.expected.iter().filter(|label| !differing.contains(label.as_str())).count()
    }

    /// Takes those that are equal now out of what is expected to fail, and adds new ones where they are asked for.
    pub fn update(&mut self, outcomes: &[Outcome], new: bool) {
        let old: HashSet<&str> = self.expected.iter().map(String::as_str).collect();
        let by_design: HashSet<&str> = self.by_design.iter().map(String::as_str).collect();
        let differs = |outcome: &&Outcome| outcome.difference.is_some() && !by_design.contains(outcome.label.as_str());
        let labels = outcomes.iter().filter(differs).map(|outcome| outcome.label.as_str());
        self.expected = labels.filter(|label| new || old.contains(label)).map(str::to_owned).collect();
    }

    /// Writes what is expected to fail.
    pub fn write(&self) {
        let mut text =
            String::from("# What does not yet do what the other server does. Made by the test: see mod.rs.\n");
        for label in &self.expected {
            text.push_str(label);
            text.push('\n');
        }
        std::fs::write(self.folder.join(EXPECTED), text).expect("the list is written");
    }

    /// The score as a table in Markdown.
    #[must_use]
    pub fn score(&self, outcomes: &[Outcome]) -> String {
        let by_design: HashSet<&str> = self.by_design.iter().map(String::as_str).collect();
        // Of an area: lines, equal ones, those that differ by design.
        let mut areas: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
        let mut all = [0; 3];
        for outcome in outcomes {
            let equal = usize::from(outcome.difference.is_none());
            let designed = usize::from(equal == 0 && by_design.contains(outcome.label.as_str()));
            for counts in [areas.entry(&outcome.area).or_default(), &mut all] {
                for (count, more) in counts.iter_mut().zip([1, equal, designed]) {
                    *count += more;
                }
            }
        }
        let mut text = String::from(
            "| area | lines | equal | different by design | equal |\n| --- | ---: | ---: | ---: | ---: |\n",
        );
        for (area, [count, equal, designed]) in areas.iter().map(|(a, c)| (*a, *c)).chain([("**all**", all)]) {
            let percent = equal as f64 * 100.0 / count.max(1) as f64;
            writeln!(text, "| {area} | {count} | {equal} | {designed} | {percent:.1} % |").expect("a text");
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

/// Puts the score of a folder's comparison between its marks in a page.
pub fn write_score(page: &Path, of: &str, score: &str) {
    let text = std::fs::read_to_string(page).expect("the page is there");
    let begin = format!("<!-- score of {of}: made by the test -->");
    let end = format!("<!-- end of the score of {of} -->");
    let (before, rest) = text.split_once(&begin).expect("the page has a mark for the score");
    let (_, after) = rest.split_once(&end).expect("the page has a mark for the end of the score");
    let text = format!("{before}{begin}\n\n{score}\n{end}{after}");
    std::fs::write(page, text).expect("the page is written");
}
