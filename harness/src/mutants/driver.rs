//! Throwaway driver.
#![allow(clippy::print_stdout, clippy::unwrap_used)]
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use gauntlet_network::Seed;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::*;
use crate::broker::{Broker, BrokerSpec, RunId};
use crate::judge::{judge, load};
use crate::plan::Plan;
use crate::run::{Environment, run};
use crate::scenario::parse;
use crate::verdict::Outcome;

fn show(name: &str, scenario: &str, took: f64, dir: &Path) {
    let (plan, history) = load(dir).unwrap();
    let j = judge(&plan, &history);
    let wanted = find(name).filter(|m| m.scenario == scenario).map(|m| m.checker);
    let mut text = String::new();
    let mut caught = false;
    for f in &j.findings {
        if Some(f.checker.as_str()) == wanted && f.outcome == Outcome::Fail {
            caught = true;
        }
        if !matches!(f.outcome, Outcome::Pass | Outcome::NotAtStake) || Some(f.checker.as_str()) == wanted {
            text += &format!("      {} {:?}: {}\n", f.checker, f.outcome, f.summary);
        }
    }
    let head = match wanted {
        Some(w) => format!("{} wants {w}", if caught { "CAUGHT" } else { "MISSED" }),
        None => "      ".into(),
    };
    println!("{head} {name} in {scenario}: {:?} ({took:.1} s)\n{text}", j.verdict);
}

#[test]
#[ignore]
fn drive() {
    let which = std::env::var("WHICH").unwrap_or_else(|_| "all".into());
    let jobs: usize = std::env::var("JOBS").map_or(4, |j| j.parse().unwrap());
    let out = std::env::var("OUT").unwrap_or_else(|_| "/tmp/mutants-out".into());
    let scenarios = "/work/main/scenarios/core";
    let mut pairs: Vec<(String, String)> = Vec::new();
    for w in which.split(',') {
        match w.split_once(':') {
            Some((n, "all")) => {
                for e in std::fs::read_dir(scenarios).unwrap() {
                    let f = e.unwrap().file_name().into_string().unwrap();
                    pairs.push((n.into(), f.strip_suffix(".toml").unwrap().into()));
                }
            }
            Some((n, s)) => pairs.push((n.into(), s.into())),
            None if w == "all" => pairs.extend(MUTANTS.iter().map(|m| (m.name.into(), m.scenario.into()))),
            None => pairs.push((w.into(), find(w).unwrap().scenario.into())),
        }
    }
    pairs.sort();
    if std::env::var("REJUDGE").is_ok() {
        for (n, s) in pairs {
            let dir = Path::new(&out).join(format!("{n}.{s}"));
            if dir.exists() {
                show(&n, &s, 0.0, &dir);
            }
        }
        return;
    }
    let rt = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    rt.block_on(async {
        let runid = RunId::new();
        let spec: BrokerSpec = std::env::var("BROKER").unwrap_or_else(|_| "local".into()).parse().unwrap();
        let broker = Arc::new(Box::pin(Broker::start(&spec, &runid)).await.unwrap());
        let permits = Arc::new(Semaphore::new(jobs));
        let mut set = JoinSet::new();
        let seed = Seed(std::env::var("SEED").map_or(1, |s| s.parse().unwrap()));
        for (n, s) in pairs {
            let (broker, permits, out, spec, runid) = (broker.clone(), permits.clone(), out.clone(), spec.clone(), runid.clone());
            let text = std::fs::read_to_string(format!("{scenarios}/{s}.toml")).unwrap();
            let scenario = parse(&s, &text).unwrap();
            set.spawn(async move {
                let want = if scenario.exclusive { jobs } else { 1 };
                let _p = permits.acquire_many_owned(want as u32).await.unwrap();
                let e = if n == "control" { control() } else { (find(&n).unwrap().make)() };
                let own = scenario.own_broker;
                let b = if own { Arc::new(Box::pin(Broker::start(&spec, &runid)).await.unwrap()) } else { broker };
                let plan = Plan::resolve(&scenario, seed, &e.name, &e.promises, "driver");
                let vhost = format!("{runid}-{n}-{s}");
                let env = Environment { broker: b.clone(), vhost, alone: scenario.exclusive };
                let dir = Path::new(&out).join(format!("{n}.{s}"));
                let began = Instant::now();
                match Box::pin(run(&plan, &e, &env, Some(&dir))).await {
                    Ok(_) => show(&n, &s, began.elapsed().as_secs_f64(), &dir),
                    Err(e) => println!("BROKEN {n} {s}: {e}"),
                }
                if own {
                    b.stop().await.unwrap();
                }
            });
        }
        while let Some(r) = set.join_next().await {
            if let Err(e) = r {
                println!("driver: {e}");
            }
        }
        broker.stop().await.unwrap();
    });
}
