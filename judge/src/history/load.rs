//! How busy the machine was: who waited for a CPU when, and what of a time is left without that.
//!
//! Owns the arithmetic of waits. A wait is known by its amount and by the stretch it lay in, not by its place there, so it
//! is spread evenly over its stretch.

use serde::{Deserialize, Serialize};

/// What waited for a CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Waiter {
    /// The process of the harness: the link, the embedded broker, the recorder.
    #[default]
    Harness,
    /// The subject's threads or processes.
    Subject,
    /// The processes of a local RabbitMQ.
    Broker,
    /// The machine itself: a hypervisor took its CPUs.
    Machine,
}

impl std::fmt::Display for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Waiter::Harness => "harness",
            Waiter::Subject => "subject",
            Waiter::Broker => "broker",
            Waiter::Machine => "machine",
        })
    }
}

/// Waiting costs more than the wait: an attempt that misses its deadline is made again, after a pause. So in the search
/// for a time that a busy machine cannot explain, each wait counts so often.
const COSTS: f64 = 2.0;

/// The waits of a run.
#[derive(Clone, Debug, Default)]
pub struct Load {
    waits: Vec<Wait>,
}

/// One wait, of one waiter at a time.
#[derive(Clone, Copy, Debug)]
struct Wait {
    who: Waiter,
    from: u64,
    to: u64,
    /// The share of that time in which it waited.
    share: f64,
}

/// A piece of a time in which nothing changes.
struct Piece {
    from: u64,
    to: u64,
    /// The share of it in which anybody waited.
    share: f64,
}

impl Load {
    /// Adds a wait that ended at `at`.
    pub(super) fn add(&mut self, who: Waiter, at: u64, over: u64, waited: u64) {
        let (from, over) = (at.saturating_sub(over), over.min(at));
        if over > 0 {
            let share = (waited as f64 / over as f64).min(1.0);
            self.waits.push(Wait { who, from, to: at, share });
        }
    }

    /// Nanoseconds between two moments in which somebody waited for a CPU.
    pub fn waited(&self, from: u64, to: u64) -> u64 {
        let waited = |p: Piece| (p.to - p.from) as f64 * p.share;
        self.pieces(from, to, &[]).into_iter().map(waited).sum::<f64>() as u64
    }

    /// The longest time, in nanoseconds, between two moments that waits do not explain: of every stretch, its length less
    /// [twice](COSTS) what was waited in it. Times in `left_out` count neither way.
    pub fn unexplained(&self, from: u64, to: u64, left_out: &[(u64, u64)]) -> u64 {
        let (mut most, mut sum) = (0.0_f64, 0.0_f64);
        for piece in self.pieces(from, to, left_out) {
            if left_out.iter().any(|(a, b)| *a <= piece.from && piece.to <= *b) {
                continue;
            }
            let length = (piece.to - piece.from) as f64;
            sum = (sum + length * (1.0 - COSTS * piece.share)).max(0.0);
            most = most.max(sum);
        }
        most as u64
    }

    fn pieces(&self, from: u64, to: u64, bounds: &[(u64, u64)]) -> Vec<Piece> {
        let within: Vec<&Wait> = self.waits.iter().filter(|w| w.from < to && w.to > from).collect();
        let waits = within.iter().flat_map(|w| [w.from, w.to]);
        let mut cuts: Vec<u64> = waits.chain(bounds.iter().flat_map(|(a, b)| [*a, *b])).collect();
        cuts.retain(|at| *at > from && *at < to);
        cuts.extend([from, to.max(from)]);
        cuts.sort_unstable();
        cuts.dedup();
        let piece = |w: &[u64]| {
            let of = |who| {
                let waits = within.iter().filter(|x| x.who == who);
                let here = waits.filter(|x| x.from <= w[0] && x.to >= w[1]).map(|x| x.share);
                // Of one waiter, what was counted twice is one wait.
                here.fold(0.0, f64::max)
            };
            let all = [Waiter::Harness, Waiter::Subject, Waiter::Broker, Waiter::Machine];
            Piece { from: w[0], to: w[1], share: all.map(of).iter().sum::<f64>().min(1.0) }
        };
        cuts.windows(2).map(piece).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(waits: &[(Waiter, u64, u64, u64)]) -> Load {
        let mut load = Load::default();
        waits.iter().for_each(|(who, at, over, waited)| load.add(*who, *at, *over, *waited));
        load
    }

    #[test]
    fn a_wait_counts_where_it_overlaps_and_never_more_than_the_time_itself() {
        use Waiter::{Harness, Subject};
        let load =
            load(&[(Subject, 200, 100, 50), (Harness, 200, 100, 80), (Subject, 300, 100, 10)]);
        assert_eq!(load.waited(0, 100), 0);
        assert_eq!(load.waited(100, 200), 100, "50 and 80 of 100");
        assert_eq!(load.waited(150, 250), 55);
        assert_eq!(load.waited(0, 1000), 110);
        assert_eq!(load.waited(300, 100), 0);
    }

    #[test]
    fn one_waiter_does_not_wait_twice_at_a_time() {
        use Waiter::Subject;
        // A wait of 300 that ended at 400, of which a part was seen before.
        let load = load(&[(Subject, 200, 100, 100), (Subject, 400, 300, 300)]);
        assert_eq!(load.waited(0, 500), 300);
    }

    #[test]
    fn what_waits_do_not_explain_is_the_longest_quiet_stretch() {
        use Waiter::Subject;
        let quiet = load(&[]);
        assert_eq!(quiet.unexplained(100, 1100, &[]), 1000);
        // 400 quiet, 600 of waiting, 500 quiet: the second is the longest.
        let busy = load(&[(Subject, 1000, 600, 600)]);
        assert_eq!(busy.unexplained(0, 1500, &[]), 500);
        // A wait that is short beside what surrounds it does not part the two: 400 - 20 + 580.
        let little = load(&[(Subject, 420, 20, 20)]);
        assert_eq!(little.unexplained(0, 1000, &[]), 960);
        assert_eq!(load(&[(Subject, 1000, 1000, 600)]).unexplained(0, 1000, &[]), 0);
        // Somebody else's turn counts neither way.
        assert_eq!(quiet.unexplained(0, 1000, &[(200, 500)]), 700);
    }
}
