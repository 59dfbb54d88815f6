//! A schedule in words, for `gauntlet show`, the live progress and the history.

use std::time::Duration;

use gauntlet_faults::{CloseKind, Direction, Edge, Fault, Side};

use super::{BrokerFault, Step, SubjectFault, Trigger};

/// One step, as a sentence: when, what, for how long.
pub fn describe(step: &Step) -> String {
    let mut words = format!("{}: {}", when(&step.when), what(step));
    if step.resets {
        words.push_str(", live connections are reset");
    }
    if let Some(n) = step.connections {
        words.push_str(&format!(", for the next {n} connections"));
    }
    if let Some(lasts) = step.lasts {
        words.push_str(&format!(", for {}", humantime::format_duration(lasts)));
    }
    if step.repeat > 1 {
        words.push_str(&format!(" ({} times)", step.repeat));
    }
    words
}

fn when(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Start => "before the subject starts".into(),
        Trigger::Idle => "when all is handled and nothing flows".into(),
        Trigger::Handled(n) => format!("after {n} handled messages"),
        Trigger::HandledBetween { from, to } => format!("after {from} to {to} handled messages"),
        Trigger::After(pause) => format!("{} later", humantime::format_duration(*pause)),
        Trigger::Frame { way, name, nth, edge } => {
            let edge = match edge {
                Edge::Before => "before".into(),
                Edge::Inside(n) => format!("{n} bytes into"),
                Edge::After => "after".into(),
            };
            let way = match way {
                Direction::ToBroker => "to the broker",
                Direction::ToClient => "to the subject",
            };
            format!("{edge} {name} number {nth} {way}")
        }
    }
}

fn what(step: &Step) -> String {
    if let Some(fault) = &step.fault {
        return fault_in_words(fault);
    }
    if let Some(fault) = &step.broker {
        return of_broker(fault);
    }
    match step.subject {
        Some(SubjectFault::Stop) => "the subject is asked to stop".into(),
        Some(SubjectFault::Abort) => "the subject is asked to stop at once".into(),
        Some(SubjectFault::Kill) => "the subject is killed and started again".into(),
        Some(SubjectFault::Pause) => "the subject is stopped in its tracks".into(),
        Some(SubjectFault::Replace) => {
            "a copy of the subject is asked to stop while another one starts".into()
        }
        None => "nothing".into(),
    }
}

fn of_broker(fault: &BrokerFault) -> String {
    match fault {
        BrokerFault::RestartApp => "the broker's application restarts".into(),
        BrokerFault::Restart => "the broker restarts".into(),
        BrokerFault::Kill => "the broker is killed and started again".into(),
        BrokerFault::CloseConnections => "the broker closes all connections".into(),
        BrokerFault::CancelConsumers => "the broker cancels the consumers".into(),
        BrokerFault::RedeclareQueue => "the queue is deleted and redeclared".into(),
        BrokerFault::DeleteQueue => "the queue is deleted".into(),
        BrokerFault::MemoryAlarm => "the broker's memory alarm".into(),
        BrokerFault::ConsumerTimeout(timeout) => {
            format!("a delivery unsettled for {} closes its channel", time(*timeout))
        }
        BrokerFault::Withhold { reply, skip, count } => {
            let which = match count {
                None => "every".to_owned(),
                Some(1) => "one".to_owned(),
                Some(n) => n.to_string(),
            };
            let after = if *skip > 0 { format!(", after the first {skip}") } else { String::new() };
            format!("{which} {reply} is never sent{after}")
        }
        BrokerFault::Silence => "new connections are accepted and never answered".into(),
    }
}

fn fault_in_words(fault: &Fault) -> String {
    match fault {
        Fault::Latency { way, delay, jitter } if jitter.is_zero() => {
            format!("latency of {}{}", time(*delay), along(*way))
        }
        Fault::Latency { way, delay, jitter } => {
            format!("latency of {} give or take {}{}", time(*delay), time(*jitter), along(*way))
        }
        Fault::Bandwidth { way, bytes_per_second } => {
            format!("at most {bytes_per_second} bytes a second{}", along(*way))
        }
        Fault::Slice { way, size, .. } => format!("writes of {size} bytes{}", along(*way)),
        Fault::Limit { way, bytes, how } => {
            format!("{} after {bytes} bytes{}", cut(*how), along(*way))
        }
        Fault::SlowClose { delay } => format!("the end of the stream comes {} late", time(*delay)),
        Fault::Rst { side } => format!("reset (RST){}", towards(*side)),
        Fault::Fin { side } => format!("closed (FIN){}", towards(*side)),
        Fault::Blackhole { way, resume: false } => format!("blackhole{}", along(*way)),
        Fault::Blackhole { way, resume: true } => {
            format!("blackhole{}, delivered later", along(*way))
        }
        Fault::Stall { way } => format!("stall{}", along(*way)),
        Fault::Refuse => "the port refuses connections".into(),
        Fault::Ignore => "new connections are accepted and never answered".into(),
        Fault::AcceptThenClose { how } => {
            format!("new connections are accepted, then {} at once", cut(*how))
        }
        Fault::LimitConnections { max } => format!("at most {max} connections"),
        Fault::Drop => "the frame vanishes".into(),
        Fault::Hold { delay } => format!("the frame and what follows wait {}", time(*delay)),
        Fault::Corrupt { byte, xor } => {
            format!("byte {byte} of the frame is XORed with {xor:#04x}")
        }
        Fault::Truncate { keep } => format!("only the first {keep} bytes of the frame pass"),
        Fault::Toxic { way, toxic } => format!("Toxiproxy's {toxic:?}{}", along(*way)),
    }
}

fn time(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn along(way: Option<Direction>) -> &'static str {
    match way {
        None => ", both ways",
        Some(Direction::ToBroker) => ", to the broker only",
        Some(Direction::ToClient) => ", to the subject only",
    }
}

fn towards(side: Side) -> &'static str {
    match side {
        Side::Both => " at both ends",
        Side::Client => " at the subject's end",
        Side::Broker => " at the broker's end",
    }
}

fn cut(how: CloseKind) -> &'static str {
    match how {
        CloseKind::Fin => "closed (FIN)",
        CloseKind::Rst => "reset (RST)",
    }
}
