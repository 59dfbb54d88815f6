//! I19, drain: fails when, after the request to stop, new work is begun, consuming goes on, work in
//! flight is neither finished and settled nor returned, a connection with work or consumers on it is left without a close,
//! or the subject is late.
//!
//! While a fault is in force, what the subject sends cannot be held against it: only new work and the
//! time to its end are. A second request ends the duty to drain (I20 takes over).

use std::time::Duration;

use super::proof::{
    Violations, automatic, busy_until, by_subject, disturbed, ending, first, gap, last_ns, ms,
    place,
};
use super::turns::{Kept, Timed};
use super::{Case, Checker, Decision};
use crate::history::ledger::{Delivery, Epoch, Fate, Handling, Mark, Message};
use crate::history::{SubjectEnd, What};

/// What was already dispatched may still begin.
const GRACE: Duration = Duration::from_millis(100);
/// How long after the request consuming may go on.
const AT_ONCE: Duration = Duration::from_secs(1);
/// A handling that would have ended this long before the bound must not be abandoned.
const MARGIN: Duration = Duration::from_millis(500);

/// The entry in the catalogue.
pub const CHECKER: Checker = Checker {
    id: "I19",
    name: "drain",
    fails_when: "after the request to stop: new work, no cancel, work lost, or too late",
    decide,
};

/// The request to stop, and what became of it.
struct Stop<'a> {
    case: &'a Case<'a>,
    asked: Mark,
    aborted: Option<Mark>,
    ended: Option<(Mark, &'a SubjectEnd)>,
    charges: Violations,
}

fn decide(case: &Case<'_>) -> Decision {
    if !case.plan.promises.drains {
        return Decision::not_applicable(
            "the subject does not promise to drain when it is asked to stop",
        );
    }
    let ended = ending(case);
    let asked = case.ledger.stop_requested;
    let asked = match (asked, &ended) {
        (None, None) => return Decision::unknown("the subject was never asked to stop"),
        (Some(asked), Some((at, _))) if *at < asked => None,
        (asked, _) => asked,
    };
    let Some(asked) = asked else {
        return Decision::not_applicable("the subject had ended before it was asked to stop");
    };
    let aborted = first(case, |what| *what == What::AbortRequested);
    let mut stop = Stop { case, asked, aborted, ended, charges: Violations::default() };
    stop.new_work();
    stop.consuming();
    let in_flight = stop.in_flight();
    let closed = stop.closes();
    let took = stop.end();
    stop.charges.or_else(|| match took {
        None => Decision::unknown("the history stops before the subject ended"),
        Some(took) => Decision::pass(format!(
            "ended {took} after the request, {in_flight} messages in flight at it, {closed} connections closed in order"
        )),
    })
}

impl Stop<'_> {
    fn after(&self, time: Duration) -> u64 {
        self.asked.ns + time.as_nanos() as u64
    }

    /// Whether something came within `time` of the request. It was the subject's turn all along.
    fn within(&self, time: Duration, at: Mark) -> Timed {
        Timed::of(self.case, self.asked.ns, at.ns, time.as_nanos() as u64)
    }

    /// Whether it came too late to count as begun before the request.
    fn is_new(&self, at: Mark) -> bool {
        self.within(GRACE, at).kept == Kept::Late
    }

    /// Nothing is begun, but for another try of a message already in hand.
    fn new_work(&mut self) {
        for (id, m) in &self.case.ledger.messages {
            let arrived = m
                .deliveries
                .iter()
                .filter_map(|(e, t)| self.case.ledger.epochs[*e].deliveries[t].at_client);
            let in_hand = arrived.max().is_none_or(|at| at < self.asked)
                && m.handled().is_none_or(|at| at > self.asked)
                && m.handlings.first().is_some_and(|h| h.start < self.asked);
            for h in m.handlings.iter().filter(|_| !in_hand) {
                let words = format!(
                    "m{id} was begun {} after the request to stop",
                    gap(self.asked, h.start)
                );
                let timed = self.within(GRACE, h.start);
                self.charges.late(&timed, words, [Some(self.asked), Some(h.start)]);
            }
        }
    }

    /// Each consumer is cancelled, or its channel closed, at once.
    fn consuming(&mut self) {
        for epoch in &self.case.ledger.epochs {
            for c in epoch.consumers.iter().filter(|c| c.under_test) {
                let since = self.asked.max(c.asked).max(busy_until(self.case, epoch, self.asked));
                let at_once = AT_ONCE.as_nanos() as u64;
                let latest = since.ns + at_once;
                let stops = [
                    epoch.client_over,
                    c.cancelled.map(|(_, at)| at),
                    self.aborted,
                    self.ended.map(|(at, _)| at),
                ];
                if disturbed(self.case, self.asked.ns, latest)
                    || self.aborted.is_some_and(|at| at < since)
                {
                    continue;
                }
                if c.asked.ns > self.after(GRACE) {
                    let words = format!(
                        "on {} it began to consume {} after the request to stop",
                        place(epoch),
                        gap(self.asked, c.asked)
                    );
                    let timed = self.within(GRACE, c.asked);
                    self.charges.late(&timed, words, [Some(self.asked), Some(c.asked)]);
                } else {
                    let first = stops.iter().flatten().map(|at| at.ns).min();
                    let until = first.unwrap_or_else(|| last_ns(self.case));
                    let timed = Timed::own(self.case, since.ns, until, at_once);
                    let words = format!(
                        "on {} it neither cancelled its consumer nor closed within {} ms of the request to stop, or of the end of the handler it was in",
                        place(epoch),
                        AT_ONCE.as_millis()
                    );
                    let evidence = [Some(self.asked), stops[1], epoch.client_over];
                    self.charges.late(&timed, words, evidence);
                }
            }
        }
    }

    /// What was begun before the request is finished and settled where the connection stood, or returned
    /// where there was no time. How many there were.
    fn in_flight(&mut self) -> usize {
        let mut count = 0;
        for (id, m) in &self.case.ledger.messages {
            for h in &m.handlings {
                let open = h.end.is_none_or(|(end, _)| end > self.asked);
                if self.is_new(h.start) || !open {
                    continue;
                }
                count += 1;
                if self.aborted.is_none() && self.case.history.complete() {
                    self.judge(*id, m, h);
                }
            }
        }
        count
    }

    fn judge(&mut self, id: u32, m: &Message, h: &Handling) {
        let Some((epoch, d)) = delivery(self.case, m, h.start) else { return };
        let left = epoch.client_over.is_none_or(|at| at > self.asked && by_subject(self.case, at));
        if !left || !d.settled.is_empty() || automatic(epoch, d) {
            return;
        }
        let evidence = [
            d.at_client,
            Some(h.start),
            Some(self.asked),
            h.end.map(|(at, _)| at),
            epoch.client_over,
        ];
        match h.end {
            Some((end, true)) if !disturbed(self.case, self.asked.ns, end.ns) => {
                let words = format!(
                    "m{id} was in flight at the request to stop, finished {} after it, and not settled",
                    gap(self.asked, end)
                );
                self.charges.add(words, evidence);
            }
            // Ended early without success and not tried again: broken off, as a dropped handler is.
            None | Some((_, false)) if m.handlings.iter().all(|other| other.start <= h.start) => {
                let settings = &self.case.plan.scenario.subject;
                let slow = settings.slow.as_ref().filter(|s| s.message == id);
                let takes = slow.map_or(settings.handler_time, |s| s.time);
                let due = h.start.ns + takes.as_nanos() as u64;
                if h.end.is_some_and(|(end, _)| end.ns >= due) {
                    return;
                }
                let bound = self.after(self.case.plan.scenario.expect.stops_within);
                if due + (MARGIN.as_nanos() as u64) < bound
                    && !disturbed(self.case, self.asked.ns, due)
                {
                    let words = format!(
                        "m{id}, in flight at the request to stop, was abandoned, though its handler had only {} ms to go",
                        due.saturating_sub(self.asked.ns) / 1_000_000
                    );
                    // One that waits for a CPU runs out of time early.
                    let over = self.ended.map_or(last_ns(self.case), |(at, _)| at.ns);
                    let timed = Timed::mostly(self.case, self.asked.ns, over);
                    self.charges.late(&timed, words, evidence);
                }
            }
            _ => {}
        }
    }

    /// Connections that were open are closed in order. How many were.
    fn closes(&mut self) -> usize {
        let mut closed = 0;
        for (conn, c) in &self.case.ledger.connections {
            let open = c.opened.is_some_and(|at| at <= self.asked)
                && c.client_over.is_none_or(|at| at > self.asked);
            if !open {
                continue;
            }
            if c.close.is_some() {
                closed += 1;
                continue;
            }
            if self.has_nothing(*conn) {
                continue;
            }
            let torn_down = self.ended.is_none_or(|(_, how)| {
                matches!(how, SubjectEnd::Overran | SubjectEnd::Panicked(_))
            });
            let until = c.client_over.map_or(last_ns(self.case), |at| at.ns);
            let own =
                c.client_over.map_or(self.case.history.complete(), |at| by_subject(self.case, at));
            if torn_down
                || self.aborted.is_some()
                || !own
                || disturbed(self.case, self.asked.ns, until)
            {
                continue;
            }
            let words = format!(
                "connection {conn} was open at the request to stop and left without connection.close"
            );
            self.charges
                .add(words, [Some(self.asked), c.client_over, self.ended.map(|(at, _)| at)]);
        }
        closed
    }

    /// Whether a connection that consumed does so no more, and the broker has read how everything on it was settled: to leave
    /// it then loses nothing.
    fn has_nothing(&self, conn: u64) -> bool {
        let read = |epoch: &Epoch, d: &Delivery| {
            let fate = |i: &usize| epoch.settlements[*i].fate == Fate::Received;
            automatic(epoch, d) || d.settled.first().is_some_and(fate)
        };
        let epochs = || self.case.ledger.epochs.iter().filter(|e| e.conn == conn);
        let consumers = || epochs().flat_map(|e| &e.consumers);
        consumers().next().is_some()
            && consumers().all(|c| c.cancelled.is_some())
            && epochs().all(|e| e.deliveries.values().all(|d| read(e, d)))
    }

    /// It ends in time. How long it took, in words; `None` when the history does not say.
    fn end(&mut self) -> Option<String> {
        let within = self.case.plan.scenario.expect.stops_within;
        let late = format!("of the {} ms it has", within.as_millis());
        let bound = within.as_nanos() as u64;
        match self.ended {
            Some((at, how)) => {
                let timed = match how {
                    SubjectEnd::Overran => Timed::torn_down(self.case, self.asked.ns, at.ns, bound),
                    _ => Timed::own(self.case, self.asked.ns, at.ns, bound),
                };
                let took = format!("{}{}", gap(self.asked, at), timed.breakdown());
                let words = match how {
                    SubjectEnd::Overran => format!(
                        "it had not ended {took} after the request to stop, {late}, and was torn down"
                    ),
                    _ => format!("it ended {took} after the request to stop, {late}"),
                };
                if self.aborted.is_none() {
                    self.charges.late(&timed, words, [Some(self.asked), Some(at)]);
                }
                Some(took)
            }
            None => {
                if self.aborted.is_none() && self.case.history.complete() {
                    let words = format!(
                        "it never ended after the request to stop at {}, {late}",
                        ms(self.asked)
                    );
                    let last = last_ns(self.case);
                    let timed = Timed::own(self.case, self.asked.ns, last, bound);
                    self.charges.late(&timed, words, [Some(self.asked)]);
                }
                None
            }
        }
    }
}

/// The delivery a handling that began then was of.
fn delivery<'a>(case: &Case<'a>, m: &Message, begun: Mark) -> Option<(&'a Epoch, &'a Delivery)> {
    let all = m.deliveries.iter().filter_map(|(e, tag)| {
        let epoch = &case.ledger.epochs[*e];
        Some((epoch, epoch.deliveries.get(tag)?))
    });
    all.filter(|(_, d)| d.at_client.is_some_and(|at| at < begun)).max_by_key(|(_, d)| d.at_client)
}

#[cfg(test)]
mod tests;
