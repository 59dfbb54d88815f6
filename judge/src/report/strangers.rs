//! What is said of connections that are not the subject's: that they were there, whose they were, and that they do not
//! count.

use std::collections::BTreeMap;

use super::summary::counted;
use crate::history::{History, Owner, What};
use crate::outcome::{RunOutcome, RunReport};

/// Names shown.
const NAMED: usize = 3;

/// One line about all of a run; nothing where there were none.
pub fn strangers<'a>(reports: impl IntoIterator<Item = &'a RunReport>) -> Option<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for report in reports {
        if let RunOutcome::Judged(played) = &report.outcome {
            note(&played.history, &mut seen);
        }
    }
    told(seen)
}

fn told(seen: BTreeMap<String, usize>) -> Option<String> {
    let all: usize = seen.values().sum();
    if all == 0 {
        return None;
    }
    let mut seen: Vec<(String, usize)> = seen.into_iter().collect();
    seen.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    let more = if seen.len() > NAMED { ", and others" } else { "" };
    let whose: Vec<String> =
        seen.into_iter().take(NAMED).map(|(who, times)| format!("{times} {who}")).collect();
    let (count, whose) = (counted(all, "connection"), whose.join(", "));
    Some(format!("{count} to the link came from strangers and were ignored: {whose}{more}"))
}

/// Counts by who they came from.
fn note(history: &History, seen: &mut BTreeMap<String, usize>) {
    let strangers = history.strangers();
    for event in history.events() {
        let What::Peer { conn, owner } = &event.what else { continue };
        if strangers.contains(conn) {
            let who = match owner {
                Owner::Other { pid, name } => format!("from process {pid} ({name})"),
                Owner::Gone => "closed at once".into(),
                Owner::Subject { .. } | Owner::Unknown => {
                    "from a process that cannot be told".into()
                }
            };
            *seen.entry(who).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::HistoryBuilder;

    #[test]
    fn strangers_are_counted_by_who_they_were() {
        let told_of = |owners: &[Owner]| {
            let mut tale = HistoryBuilder::new();
            for (conn, owner) in (1..).zip(owners) {
                let owner = owner.clone();
                tale.what(What::Peer { conn, owner }).what(What::Accepted { conn }).rst(conn);
            }
            let mut seen = BTreeMap::new();
            note(&tale.told().1, &mut seen);
            told(seen)
        };
        let scanner = Owner::Other { pid: 7, name: "scanner".into() };
        assert_eq!(told_of(&[Owner::Subject { pid: 1, copy: Some(1) }]), None);
        assert_eq!(
            told_of(&[scanner.clone(), Owner::Gone, scanner]).as_deref(),
            Some(
                "3 connections to the link came from strangers and were ignored: 2 from process 7 (scanner), 1 closed at once"
            )
        );
    }
}
