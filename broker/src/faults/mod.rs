//! What goes wrong on purpose: at once, when told ([`actions`]), or at a point of the protocol ([`Trigger`]).

pub mod actions;

mod restart;

use std::time::Duration;

use crate::wire::MethodId;

pub use actions::Action;

/// The direction of a method, from the broker's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From a client.
    In,
    /// To a client.
    Out,
}

/// Before or after the method has its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// The client does not see it, or the broker has not acted on it.
    Before,
    /// It is sent, or acted on.
    After,
}

/// Something to do when a method passes for the `nth` time from now on, over all connections.
#[derive(Clone, Debug)]
pub struct Trigger {
    /// Sent or received.
    pub way: Direction,
    /// Which method.
    pub method: MethodId,
    /// Counted from one; zero is one.
    pub nth: u64,
    /// On which side of it.
    pub edge: Edge,
    /// What to do, once.
    pub action: Action,
}

/// What happens to replies that are held back. The channel says nothing else meanwhile, like one whose process hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withheld {
    /// They go out so much later.
    Delayed(Duration),
    /// They go out when [`crate::Core::lift_withheld`] is called, if ever.
    Forever,
}

/// A rule about replies of one method.
#[derive(Clone, Copy, Debug)]
pub struct ReplyRule {
    /// Which reply: `basic.consume-ok`, `queue.declare-ok`...
    pub method: MethodId,
    /// This many pass first.
    pub skip: u64,
    /// This many are held back; none is all.
    pub count: Option<u64>,
    /// How.
    pub withheld: Withheld,
}

/// The faults in force.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub alarm: bool,
    pub silence: bool,
    triggers: Vec<Trigger>,
    replies: Vec<ReplyRule>,
    fired: u64,
    /// Replies held back so far.
    held: u64,
    /// Connections not answered so far.
    pub unanswered: u64,
}

/// What a method has set off.
#[derive(Debug, Default)]
pub(crate) struct Fired {
    pub before: Vec<Action>,
    pub after: Vec<Action>,
}

impl Faults {
    /// Whether anything waits for a method.
    pub fn is_armed(&self) -> bool {
        !self.triggers.is_empty() || !self.replies.is_empty()
    }

    pub fn arm(&mut self, trigger: Trigger) {
        self.triggers.push(trigger);
    }

    pub fn withhold(&mut self, rule: ReplyRule) {
        self.replies.push(rule);
    }

    pub fn clear(&mut self) {
        self.triggers.clear();
        self.replies.clear();
    }

    pub fn clear_replies(&mut self) {
        self.replies.clear();
    }

    /// How many triggers have fired, and how many wait.
    pub fn counts(&self) -> (u64, usize) {
        (self.fired, self.triggers.len())
    }

    /// How many replies were held back, and how many connections not answered.
    pub fn touched(&self) -> (u64, u64) {
        (self.held, self.unanswered)
    }

    /// A method passes.
    pub fn reached(&mut self, way: Direction, method: MethodId) -> Fired {
        let mut fired = Fired::default();
        let mut at = 0;
        while let Some(trigger) = self.triggers.get_mut(at) {
            if (trigger.way, trigger.method) != (way, method) {
                at += 1;
                continue;
            }
            if trigger.nth > 1 {
                trigger.nth -= 1;
                at += 1;
                continue;
            }
            let trigger = self.triggers.remove(at);
            self.fired += 1;
            match trigger.edge {
                Edge::Before => fired.before.push(trigger.action),
                Edge::After => fired.after.push(trigger.action),
            }
        }
        fired
    }

    /// Whether a reply is to be held back.
    pub fn withholds(&mut self, method: MethodId) -> Option<Withheld> {
        let at = self.replies.iter().position(|rule| rule.method == method)?;
        let rule = &mut self.replies[at];
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        let withheld = rule.withheld;
        self.held += 1;
        if let Some(count) = &mut rule.count {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.replies.remove(at);
            }
        }
        Some(withheld)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACK: MethodId = MethodId::of(60, 80);

    #[test]
    fn a_trigger_counts_and_fires_once() {
        let mut faults = Faults::default();
        faults.arm(Trigger {
            way: Direction::In,
            method: ACK,
            nth: 2,
            edge: Edge::After,
            action: Action::Crash,
        });
        assert!(faults.reached(Direction::Out, ACK).after.is_empty());
        assert!(faults.reached(Direction::In, ACK).after.is_empty());
        assert_eq!(faults.reached(Direction::In, ACK).after.len(), 1);
        assert!(!faults.is_armed());
        assert_eq!(faults.counts(), (1, 0));
    }

    #[test]
    fn replies_are_skipped_then_held_back_then_not() {
        let mut faults = Faults::default();
        let withheld = Withheld::Forever;
        faults.withhold(ReplyRule { method: ACK, skip: 1, count: Some(2), withheld });
        let held: Vec<bool> = (0..4).map(|_| faults.withholds(ACK).is_some()).collect();
        assert_eq!(held, [false, true, true, false]);
        assert_eq!(faults.touched(), (2, 0));
    }
}
