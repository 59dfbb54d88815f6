//! Steps that a Toxiproxy behind the link plays, and the evidence that they touched something.
//!
//! Toxiproxy does not say what a toxic did. What the link hears at its far end does: from the moment a toxic is read
//! back, an octet handed to Toxiproxy or coming from it has passed the toxic on that stream. Only a hole in the stream from
//! the broker lets nothing be heard; there, Toxiproxy's counters tell (when the connection has ended) that octets came.

use std::time::{Duration, Instant as StdInstant};

use gauntlet_network::Way;
use tokio::time::{Instant, sleep_until, timeout};

use super::{ConductError, Conductor, InForce};
use crate::history::What;
use crate::network::Path;
use crate::network::toxic::{Kind, Stream, Toxic};
use crate::scenario::{Step, describe};

/// How often the counters are looked at: a request each, on this machine.
const LOOK: Duration = Duration::from_millis(20);
/// Toxiproxy closes what a hole had hold of when the hole is gone, and counts.
const COUNTED: Duration = Duration::from_secs(2);

/// A step's toxics, in force.
pub struct Toxics {
    step: usize,
    names: Vec<String>,
    /// Where only Toxiproxy can tell: since when, and what had come to the stream by then.
    unheard: Option<(StdInstant, u64)>,
}

impl Conductor<'_> {
    /// Puts a step's toxics in force; when this returns, they were read back.
    pub(super) async fn poison(
        &self,
        index: usize,
        step: &Step,
        path: &Path,
        toxics: &[Toxic],
    ) -> Result<InForce, ConductError> {
        let failed = |source| ConductError::Network { step: index + 1, source };
        let hole = |t: &Toxic| matches!(t.kind, Kind::Timeout { .. });
        let unheard = toxics.iter().all(|t| hole(t) && t.stream == Stream::Downstream);
        let before = match unheard {
            true => Some(path.received(Stream::Downstream).await.map_err(failed)?),
            false => None,
        };
        self.recorder.record(What::Injected { step: index, fault: describe(step) });
        let mut names = Vec::new();
        for toxic in toxics {
            names.push(path.add(toxic).await.map_err(failed)?);
        }
        let ways: Vec<Way> = toxics
            .iter()
            .filter(|t| !(hole(t) && t.stream == Stream::Downstream))
            .map(|t| match t.stream {
                Stream::Upstream => Way::ToBroker,
                Stream::Downstream => Way::ToClient,
            })
            .collect();
        self.tap.poisoned(index, ways, format!("{} of Toxiproxy", names.join(" and ")));
        if step.resets {
            self.reset_all(index).await?;
        }
        let unheard = before.map(|octets| (StdInstant::now(), octets));
        Ok(InForce::Toxics(Toxics { step: index, names, unheard }))
    }

    /// Takes toxics out of force; when this returns, that was read back.
    pub(super) async fn cure(&self, toxics: Toxics) -> Result<(), ConductError> {
        let Toxics { step, names, unheard } = toxics;
        let failed = |source| ConductError::Network { step: step + 1, source };
        let Some(path) = &self.path else { return Ok(()) };
        let open: Vec<u64> = self.link.connections().iter().map(|c| c.id).collect();
        self.tap.cured(step);
        for name in &names {
            path.remove(name).await.map_err(failed)?;
        }
        if let Some((since, before)) = unheard {
            let counted = async {
                while path.received(Stream::Downstream).await? <= before {
                    sleep_until(Instant::now() + LOOK).await;
                }
                Ok(())
            };
            // Without it the step has touched nothing that anybody knows of.
            if let Ok(counted) = timeout(COUNTED, counted).await {
                counted.map_err(failed)?;
                for conn in open {
                    let note = format!("octets came to {} of Toxiproxy", names.join(" and "));
                    let fired = What::Fired { step, conn: Some(conn), note };
                    self.recorder.record_at(since, fired);
                }
            }
        }
        self.recorder.record(What::Lifted { step });
        Ok(())
    }
}
