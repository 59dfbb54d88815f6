//! Which connections are the subject's, told from the events alone.
//!
//! The link listens on a port that anybody can find: port scanners, forwarders, a test that was given the port before.
//! Only the subject is judged, so what is not its own is left out, by this rule:
//!
//! - A connection whose socket the subject holds is the subject's from the start, also if it never says a word.
//! - One whose owner is not known (gone already, or not to be told) is the subject's once it has sent the AMQP protocol
//!   header. Until then it is nobody's.
//! - One that another process holds is the subject's once it opens the virtual host that only the subject was told: the
//!   subject runs in a container, or behind a forwarder. All connections of that process are then the subject's.
//! - All others are strangers'.
//!
//! A connection of which no owner is on record is the subject's: histories written by hand, or by earlier versions.

use std::collections::{BTreeMap, BTreeSet};

use gauntlet_amqp::Args;
use gauntlet_faults::{Direction, End};

use super::event::{Event, Owner, What};

/// Events held back of one connection that is not yet known to be the subject's. A client that says more than this
/// without opening the virtual host never will.
const HELD: usize = 256;

/// The rule at work on a growing history.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    vhost: Option<String>,
    /// Connections that are not known to be the subject's.
    doubtful: BTreeMap<u64, Doubt>,
    /// Processes that opened the subject's virtual host.
    known: BTreeSet<u32>,
}

#[derive(Clone, Debug)]
struct Doubt {
    /// The process, where one is known that is not the subject's.
    other: Option<u32>,
    held: Vec<Event>,
}

/// What is to be done with an event.
#[derive(Debug, PartialEq)]
pub enum Sifted {
    /// It is the subject's, or nobody's in particular.
    Counts,
    /// It is not known to be the subject's.
    Held,
    /// It shows that these are the subject's, in order; it is among them.
    Adopted(Vec<Event>),
}

impl Peers {
    /// Looks at the next event.
    pub fn sift(&mut self, event: &Event) -> Sifted {
        match &event.what {
            What::VhostTold { vhost } => self.vhost = Some(vhost.clone()),
            What::Peer { conn, owner } => self.meet(*conn, owner),
            _ => {}
        }
        let Some(doubt) = event.what.conn().and_then(|conn| self.doubtful.get_mut(&conn)) else {
            return Sifted::Counts;
        };
        let other = doubt.other;
        let proves = proves(&event.what, other, self.vhost.as_deref());
        if proves || doubt.held.len() < HELD {
            doubt.held.push(event.clone());
        }
        match proves {
            true => Sifted::Adopted(self.adopt(event, other)),
            false => Sifted::Held,
        }
    }

    /// Connections that are not the subject's, as far as is known.
    pub fn strangers(&self) -> BTreeSet<u64> {
        self.doubtful.keys().copied().collect()
    }

    fn meet(&mut self, conn: u64, owner: &Owner) {
        let other = match owner {
            Owner::Subject { .. } => return,
            Owner::Other { pid, .. } if self.known.contains(pid) => return,
            Owner::Other { pid, .. } => Some(*pid),
            Owner::Gone | Owner::Unknown => None,
        };
        self.doubtful.insert(conn, Doubt { other, held: Vec::new() });
    }

    /// Takes the connection of `event`, and all of the same process, out of doubt.
    fn adopt(&mut self, event: &Event, other: Option<u32>) -> Vec<Event> {
        self.known.extend(other);
        let conn = event.what.conn();
        let its =
            |id: u64, doubt: &Doubt| Some(id) == conn || (other.is_some() && doubt.other == other);
        let adopted: Vec<u64> = self
            .doubtful
            .iter()
            .filter(|(id, doubt)| its(**id, doubt))
            .map(|(id, _)| *id)
            .collect();
        let mut events: Vec<Event> =
            adopted.iter().filter_map(|id| self.doubtful.remove(id)).flat_map(|d| d.held).collect();
        events.sort_by_key(|e| (e.ns, e.seq));
        events
    }
}

/// Whether what a client sent shows that it is the subject; `other` is the process where one is known that is not.
fn proves(what: &What, other: Option<u32>, vhost: Option<&str>) -> bool {
    let What::Wire { end: End::Client, way: Direction::ToBroker, frame, .. } = what else {
        return false;
    };
    match (&frame.args, other) {
        (Args::Open { vhost: opened }, Some(_)) => vhost == Some(&**opened),
        (_, None) => &*frame.name == "protocol-header",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::testing::HistoryBuilder;
    use crate::history::Ending;
    use crate::history::ledger::Ledger;

    fn other(pid: u32) -> Owner {
        Owner::Other { pid, name: "scanner".into() }
    }

    fn own() -> Owner {
        Owner::Subject { pid: 1, copy: Some(1) }
    }

    fn tale() -> HistoryBuilder {
        let mut tale = HistoryBuilder::new();
        tale.what(What::VhostTold { vhost: "/".into() });
        tale
    }

    fn greets(tale: &mut HistoryBuilder, conn: u64) {
        tale.passes(conn, Direction::ToBroker, 0, "protocol-header", Args::None);
    }

    /// Which connections count, in the ledger and in what the checkers are shown: the two agree.
    #[track_caller]
    fn check(tale: &mut HistoryBuilder, expect: &[u64]) {
        let (_, history) = tale.told();
        let ledger = Ledger::of(history.events());
        assert_eq!(ledger.connections.keys().copied().collect::<Vec<_>>(), expect);
        let (its, ignored) = (history.of_subject(), history.strangers().len());
        let mut shown: Vec<u64> = its.events().iter().filter_map(|e| e.what.conn()).collect();
        shown.sort_unstable();
        shown.dedup();
        assert_eq!(shown, expect);
        let all: BTreeSet<u64> = history.events().iter().filter_map(|e| e.what.conn()).collect();
        assert_eq!(ignored, all.len() - expect.len());
        assert!(its.complete());
        let again = Ledger::of(its.events());
        assert_eq!(format!("{:?}", again.connections), format!("{:?}", ledger.connections));
    }

    #[test]
    fn who_never_speaks_is_a_stranger_unless_it_is_the_subject() {
        for (owner, counts) in
            [(own(), true), (other(7), false), (Owner::Gone, false), (Owner::Unknown, false)]
        {
            let mut tale = tale();
            tale.what(What::Peer { conn: 1, owner }).what(What::Accepted { conn: 1 });
            tale.what(What::Dialed { conn: 1 });
            tale.what(What::Fired { step: 0, conn: Some(1), note: "rst".into() });
            tale.what(What::Ended { conn: 1, end: End::Client, how: Ending::Fin });
            tale.what(What::Closed { conn: 1 });
            check(&mut tale, if counts { &[1] } else { &[] });
            let fired = Ledger::of(tale.told().1.events()).steps.len();
            assert_eq!(
                fired,
                usize::from(counts),
                "a fault that touched a stranger touched nothing"
            );
        }
    }

    #[test]
    fn who_speaks_something_else_is_a_stranger() {
        for owner in [other(7), Owner::Gone, Owner::Unknown] {
            let mut tale = tale();
            tale.what(What::Peer { conn: 1, owner }).what(What::Accepted { conn: 1 });
            let (end, way, why) = (End::Client, Direction::ToBroker, "not AMQP".to_owned());
            tale.what(What::Garbage { conn: 1, end, way, bytes: 18, why });
            check(&mut tale, &[]);
        }
    }

    #[test]
    fn without_a_known_owner_the_protocol_header_is_enough() {
        for owner in [Owner::Gone, Owner::Unknown] {
            let mut tale = tale();
            tale.what(What::Peer { conn: 1, owner }).what(What::Accepted { conn: 1 });
            greets(&mut tale, 1);
            check(&mut tale, &[1]);
            assert!(Ledger::of(tale.told().1.events()).connections[&1].accepted.is_some());
        }
    }

    #[test]
    fn another_process_has_to_open_the_virtual_host_of_the_subject() {
        let mut greeted = tale();
        greeted.what(What::Peer { conn: 1, owner: other(7) }).what(What::Accepted { conn: 1 });
        greets(&mut greeted, 1);
        check(&mut greeted, &[]);

        for (vhost, counts) in [("/", true), ("elsewhere", false)] {
            let mut tale = HistoryBuilder::new();
            tale.what(What::VhostTold { vhost: vhost.into() });
            // It opens "/".
            tale.what(What::Peer { conn: 1, owner: other(7) }).connect(1, 10).consume(1, 1, 8);
            check(&mut tale, if counts { &[1] } else { &[] });
            let ledger = Ledger::of(tale.told().1.events());
            assert_eq!(ledger.consuming(), counts);
        }
    }

    #[test]
    fn all_connections_of_a_process_that_opened_the_virtual_host_count() {
        let mut tale = tale();
        for (conn, pid) in [(1, 7), (2, 8)] {
            tale.what(What::Peer { conn, owner: other(pid) }).what(What::Accepted { conn });
            tale.rst(conn);
        }
        tale.what(What::Peer { conn: 3, owner: other(7) }).connect(3, 10);
        tale.what(What::Peer { conn: 4, owner: other(7) }).what(What::Accepted { conn: 4 });
        tale.what(What::Peer { conn: 5, owner: other(8) }).what(What::Accepted { conn: 5 });
        check(&mut tale, &[1, 3, 4]);
    }

    #[test]
    fn a_history_without_owners_has_connections_of_the_subject_only() {
        let mut tale = HistoryBuilder::new();
        tale.what(What::Accepted { conn: 1 }).rst(1).connect(2, 10);
        check(&mut tale, &[1, 2]);
    }

    #[test]
    fn a_stranger_that_talks_without_end_is_not_kept_in_memory() {
        let mut peers = Peers::default();
        let event = |seq, what| Event { seq, ns: seq, what };
        peers.sift(&event(0, What::Peer { conn: 1, owner: other(7) }));
        for seq in 1..10_000 {
            peers.sift(&event(seq, What::Dialed { conn: 1 }));
        }
        assert_eq!(peers.doubtful[&1].held.len(), HELD);
    }
}
