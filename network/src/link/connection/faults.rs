//! How a connection takes the table's faults for its own, and what happens when a point is met on it.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use super::{
    super::{lane::Pipe, shared::Shared},
    Connection,
};
use crate::fault::play::Play;
use crate::{
    fault::{
        FaultId, Kind,
        table::{AcceptAction, Entry, Table},
    },
    wire::{CloseKind, Direction, Side},
};

impl Connection {
    /// Looks at the table; whether it had changed.
    pub(super) fn look(&mut self, shared: &Shared) -> bool {
        let table = shared.read();
        let changed = table.version != self.version;
        if changed {
            self.obey(&table);
        }
        changed
    }

    /// A point was met here: its fault is in force, on this connection or at the door.
    pub(super) fn meet(&mut self, way: Direction, entry: &Arc<Entry>) {
        entry.since.get_or_init(Instant::now);
        match entry.injection.fault.kind() {
            Kind::Stream if !self.met.iter().any(|(id, _)| *id == entry.id) => {
                self.met.push((entry.id, way));
                self.install(entry, Some(way));
            }
            _ => {}
        }
        self.shared.nudge.notify_one();
    }

    /// A cut was done at its point; the last of its matches retires it.
    pub(super) fn spend(&self, entry: &Entry) {
        entry.since.get_or_init(Instant::now);
        if entry.exhausted() {
            entry.spent.store(true, Relaxed);
        }
        self.shared.nudge.notify_one();
    }

    /// Puts a fault to work on the directions it concerns. A cut is done where its point was met.
    pub(super) fn install(&mut self, entry: &Arc<Entry>, met: Option<Direction>) {
        let fault = &entry.injection.fault;
        let seed = entry.seed(self.shared.seed, self.id);
        for way in Direction::BOTH {
            let here = match fault.kind() {
                Kind::Cut => way == met.unwrap_or(Direction::ToBroker),
                _ => way.within(fault.way()),
            };
            let fresh = entry.was_there_before(self.id);
            let effect = fault.effect(seed.derive(&way.to_string()), fresh);
            if let (true, Some(effect)) = (here, effect) {
                self.lane(way).add(Arc::clone(entry), effect);
            }
        }
    }

    /// Takes the table's faults for its own.
    pub(super) fn obey(&mut self, table: &Table) {
        (self.version, self.latest) = (table.version, table.last_id());
        let now = Instant::now();
        let in_force = |id: FaultId| table.entries.iter().any(|entry| entry.id == id);
        self.succeed(table, now);
        for lane in [&mut self.to_broker, &mut self.to_client] {
            lane.forget(in_force, now);
        }
        // One it had no time to touch was never ignored.
        let ignored = |(id, greeting)| {
            greeting == AcceptAction::Ignore && self.fired.contains(&id) && !in_force(id)
        };
        let ignored = self.greeted.is_some_and(ignored);
        self.greeted = self.greeted.filter(|(id, _)| in_force(*id));
        self.fired.retain(|id| in_force(*id));
        self.done.retain(|id| in_force(*id));
        self.met.retain(|(id, _)| in_force(*id));
        for lane in [Direction::ToBroker, Direction::ToClient] {
            if let Some((side, how)) = self.lane(lane).parting.take() {
                self.cut(side, how);
            }
        }
        if ignored {
            self.cut(Side::Both, CloseKind::Rst);
        }
        let (seed, id) = (self.shared.seed, self.id);
        let concerned = |entry: &&Arc<Entry>| entry.concerns(seed, id, &self.orders.grants);
        let fresh: Vec<_> = table.entries.iter().filter(concerned).cloned().collect();
        for entry in &fresh {
            let at_work = |lane: &Pipe| lane.acting.iter().any(|a| a.entry.id == entry.id);
            let known = at_work(&self.to_broker) || at_work(&self.to_client);
            let armed = entry.injection.at.is_some();
            let door = entry.injection.fault.kind() == Kind::Listener;
            if !armed && !door && !known && !self.done.contains(&entry.id) {
                self.install(entry, None);
            }
        }
        for lane in [&mut self.to_broker, &mut self.to_client] {
            let counts = !self.orders.stranger;
            let armed = table
                .armed(lane.way)
                .filter(|entry| counts && fresh.iter().any(|f| f.id == entry.id));
            lane.armed = armed.cloned().collect();
            lane.acting.sort_by_key(|acting| table.place(acting.entry.id));
        }
    }

    /// Faults that were changed go on where they were, and know what they knew.
    fn succeed(&mut self, table: &Table, now: Instant) {
        let (link, id) = (self.shared.seed, self.id);
        for lane in [&mut self.to_broker, &mut self.to_client] {
            let way = lane.way;
            let heir = |old: &Entry| {
                let entry = table.heir(old)?;
                let seed = entry.seed(link, id).derive(&way.to_string());
                let fresh = entry.was_there_before(id);
                let effect = entry
                    .concerns(link, id, &self.orders.grants)
                    .then(|| entry.injection.fault.effect(seed, fresh))
                    .flatten();
                Some((Arc::clone(entry), effect))
            };
            lane.succeed(heir, now);
        }
    }
}
