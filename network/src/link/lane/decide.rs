//! What is to happen at the head of a direction: what the plan says is due, what the faults say
//! together, and whether the end of the stream may pass.

use std::{sync::atomic::Ordering::Relaxed, time::Instant};

use super::{
    super::{notes::Notes, peer::Peer, plan::Due},
    Acting, Input, Pipe, Step,
};
use crate::{
    fault::{
        Kind,
        effect::{Gate, OPEN},
        table::Act,
    },
    wire::{CloseKind, Side},
};

impl Pipe {
    /// Does what the plan says is due.
    pub(super) fn act(&mut self, due: Due, now: Instant, notes: &mut Notes<'_>) -> Step {
        let Due { act, entry, note } = due;
        if act == Act::Meet && entry.injection.fault.kind() != Kind::Cut {
            return Step::Met(entry);
        }
        if !notes.fired.contains(&entry.id) {
            notes.fired.push(entry.id);
        }
        notes.fire(&entry, Some(self.way), note);
        match act {
            Act::Meet => return Step::Met(entry),
            Act::Swallow { .. } => {}
            Act::Hold(delay) => self.held.push((entry.id, now + delay)),
            Act::Xor(mask) => {
                if let Some(byte) = self.queue.head().first_mut() {
                    *byte ^= mask;
                    entry.counters.bytes.fetch_add(1, Relaxed);
                }
            }
        }
        if entry.exhausted() && !matches!(act, Act::Hold(_)) {
            entry.spent.store(true, Relaxed);
            notes.shared.nudge.notify_one();
        }
        Step::Moved
    }

    /// What the faults say about the head together; a cut at once.
    pub(super) fn gate(
        &mut self,
        now: Instant,
        waiting: usize,
        notes: &mut Notes<'_>,
    ) -> Result<Gate, Step> {
        let mut all = if self.lost { Gate::Swallow } else { OPEN };
        let (mut waiting, mut dropped) = (waiting, None);
        for at in 0..self.acting.len() {
            let Acting { entry, effect } = &mut self.acting[at];
            let gate = effect.gate(now, waiting);
            if gate.touches(waiting) {
                notes.fire_once(entry, Some(self.way));
            }
            match gate {
                Gate::Cut(side, how) => return Err(Step::Cut(entry.id, side, how)),
                Gate::Close => return self.close(at, now, notes),
                // Only what those before it let through comes to be dropped, and nothing of it further.
                Gate::Drop(_) => {
                    if matches!(all, Gate::Pass(_)) && dropped.is_none() {
                        dropped = Some(all.and(gate));
                        (self.dropper, waiting) = (at, 0);
                    }
                    continue;
                }
                Gate::Swallow if waiting > 0 => {
                    self.lost = true;
                    self.lost_both |= entry.injection.fault.way().is_none();
                    entry.counters.bytes.fetch_add(waiting as u64, Relaxed);
                }
                _ => {}
            }
            all = all.and(gate);
        }
        Ok(dropped.unwrap_or(all))
    }

    /// A fault ends the stream, and the connection with it, when those behind it let the end pass.
    fn close(&mut self, at: usize, now: Instant, notes: &mut Notes<'_>) -> Result<Gate, Step> {
        let mut all = OPEN;
        for Acting { entry, effect } in &mut self.acting[at + 1..] {
            let gate = effect.ending(now);
            if let Gate::Cut(side, how) = gate {
                notes.fire_once(entry, Some(self.way));
                return Err(Step::Cut(entry.id, side, how));
            }
            all = all.and(gate);
        }
        match all {
            Gate::Wait(until) => Ok(Gate::Wait(until)),
            _ => Err(Step::Cut(self.acting[at].entry.id, Side::Both, CloseKind::Fin)),
        }
    }

    /// Bytes vanish on their way: those in front of the fault that drops them had passed them.
    pub(super) fn vanish(&mut self, bytes: usize, now: Instant) -> Step {
        let upto = self.dropper.min(self.acting.len().saturating_sub(1));
        for Acting { effect, .. } in self.acting.iter_mut().take(upto + 1) {
            effect.wrote(now, bytes);
        }
        if let Some(Acting { entry, .. }) = self.acting.get(upto) {
            entry.counters.bytes.fetch_add(bytes as u64, Relaxed);
        }
        self.passed(bytes);
        Step::Moved
    }

    /// The queue is empty: may the end of the stream pass?
    pub(super) fn end(&mut self, sink: &Peer, now: Instant, notes: &mut Notes<'_>) -> Step {
        let Input::Ended(how) = self.input else { return Step::Idle(None) };
        if let Some(due) = self.end_due
            && due > now
        {
            return Step::Idle(Some(due));
        }
        let mut all = OPEN;
        for Acting { entry, effect } in &mut self.acting {
            let gate = effect.ending(now);
            if gate != OPEN {
                notes.fire_once(entry, Some(self.way));
            }
            if let Gate::Cut(side, how) = gate {
                return Step::Cut(entry.id, side, how);
            }
            if gate == Gate::Swallow {
                self.lost = true;
                self.lost_both |= entry.injection.fault.way().is_none();
            }
            all = all.and(gate);
        }
        match all {
            Gate::Pass(_) if self.lost => Step::End(CloseKind::Rst),
            Gate::Pass(_) if sink.is_absent() && how == CloseKind::Fin => Step::Idle(None),
            Gate::Pass(_) => Step::End(how),
            Gate::Wait(until) => Step::Idle(until),
            Gate::Swallow | Gate::Drop(_) | Gate::Close | Gate::Cut(..) => Step::Idle(None),
        }
    }
}
