//! Your own consumer through Gauntlet's scenarios, in Rust: a small lapin consumer that reconnects.
//!
//! `cargo run --example my_consumer` plays two scenarios against it and prints what came of them.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use gauntlet_harness::report::summary;
use gauntlet_harness::subject::{Entrant, Job, Promises, Running};
use gauntlet_harness::suite::{Bout, Options, exit_code, run_suite};
use gauntlet_network::Seed;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};

/// Consumes until told to stop; whatever goes wrong, it dials again.
async fn my_consumer(job: Job) -> Result<(), String> {
    loop {
        let lost = tokio::select! {
            lost = consume(&job) => lost,
            () = job.stop.cancelled() => return Ok(()),
        };
        if let Err(why) = lost {
            job.said(format!("dialing again: {why}"));
        }
        let pause = tokio::time::Instant::now() + Duration::from_millis(100);
        tokio::time::sleep_until(pause).await;
    }
}

async fn consume(job: &Job) -> lapin::Result<()> {
    let connection = Connection::connect(&job.url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(job.prefetch, BasicQosOptions::default()).await?;
    let (queue, tag) = (job.queue.as_str().into(), "".into());
    let options = BasicConsumeOptions::default();
    let mut deliveries = channel.basic_consume(queue, tag, options, FieldTable::default()).await?;
    while let Some(delivery) = deliveries.next().await {
        let delivery = delivery?;
        let id = delivery.properties.message_id().as_ref().map(|id| id.as_str());
        if job.handle(id, delivery.redelivered).await.is_ok() {
            delivery.ack(BasicAckOptions::default()).await?;
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it found")]
#[tokio::main]
async fn main() -> ExitCode {
    // It neither remembers what it has handled nor finishes its work on a stop, and says so.
    let promises = Promises { dedups: false, drains: false, ..Promises::all() };
    let subject = |job: Job| -> Running { Box::pin(my_consumer(job)) };
    let entrant = Entrant::new("my_consumer", promises, subject);
    let mut bouts = Vec::new();
    for name in ["steady", "rst-idle"] {
        let mut scenario =
            gauntlet_scenarios::scenario(name).expect("a scenario of the core suite");
        scenario.subject.workers = 1;
        // What it does not promise it is not asked to decide.
        scenario.decides.retain(|id| id != "I19");
        bouts.push(Bout { scenario, entrant: entrant.clone(), seed: Seed::random(), dir: None });
    }
    let options = Options::default();
    match run_suite(&bouts, &options, Arc::new(|_| {})).await {
        Ok(reports) => {
            for report in &reports {
                println!("{}", summary::line(report));
            }
            exit_code(&reports).into()
        }
        Err(e) => {
            eprintln!("error: {e}");
            3.into()
        }
    }
}
