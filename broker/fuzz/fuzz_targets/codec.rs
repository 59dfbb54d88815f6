//! Any octets for the codec, and in any pieces for a connection: nothing panics, and what is read comes back.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::{Buf as _, BytesMut};
use gauntlet_broker::wire::frame::{self, OVERHEAD};
use gauntlet_broker::wire::{Kind, Props, Split, method, props, read::Reader, table};
use gauntlet_broker::{Batch, Config, Core, Table};
use libfuzzer_sys::fuzz_target;

const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
/// Answers to a peer that says nothing of sense: a few errors, the offers of the handshake, and no more.
const ANSWERS: usize = 1 << 20;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    frame_max: u32,
    greets: bool,
    cuts: Vec<u8>,
    octets: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    splits(&input);
    fields(input.octets);
    peer(&input);
});

/// Frame by frame; the contents of each are read as whatever they may be.
fn splits(input: &Input<'_>) {
    let mut octets = input.octets;
    loop {
        match frame::split(octets, input.frame_max) {
            Split::Need(needed) => return assert!(needed > octets.len(), "{needed} are there"),
            Split::Lost(_) => return,
            Split::Frame { kind, payload, .. } => {
                // One octet less is not a frame yet, and is not taken for something else.
                let short = &octets[..payload + OVERHEAD - 1];
                assert!(matches!(frame::split(short, input.frame_max), Split::Need(_)));
                let contents = &octets[frame::HEADER..][..payload];
                if kind == Kind::Method
                    && let Some(id) = method::id(contents)
                    && let Err(malformed) = method::read(id, &contents[4..])
                {
                    let _ = malformed.into_error(&contents[4..]);
                }
                fields(contents);
                octets.advance(payload + OVERHEAD);
            }
        }
    }
}

fn fields(octets: &[u8]) {
    if let Ok(table) = table::read(octets) {
        let written = rewritten(&table);
        let again = Reader::new(&written).table().expect("what was written can be read");
        assert_eq!(rewritten(&again), written);
        let mut sorted = table;
        sorted.sort();
        assert!(sorted.is_sorted());
    }
    let read = Props::read(octets);
    if let Some(mode) = props::plain(octets) {
        assert_eq!(read.as_ref().map(|props| props.delivery_mode), Ok(mode));
    }
    if let Ok(props) = read {
        let written = props.write();
        let again = Props::read(&written).expect("what was written can be read");
        assert_eq!(again.write(), written);
    }
}

fn rewritten(table: &Table) -> BytesMut {
    let mut out = BytesMut::new();
    table.write(&mut out);
    out
}

/// The same octets from a peer, in pieces, with or without a greeting before them.
fn peer(input: &Input<'_>) {
    let mut core = Core::new(Config::default());
    let id = core.opened(PEER, Duration::ZERO);
    let mut kept = BytesMut::new();
    if input.greets {
        kept.extend_from_slice(b"AMQP\x00\x00\x09\x01");
    }
    let mut rest = input.octets;
    let mut cuts = input.cuts.iter().cycle();
    while !rest.is_empty() {
        let cut = cuts.next().map_or(rest.len(), |cut| usize::from(*cut).max(1));
        kept.extend_from_slice(&rest[..cut.min(rest.len())]);
        rest.advance(cut.min(rest.len()));
        core.received(id, &mut kept, Duration::ZERO);
    }
    let mut batch = Batch::default();
    core.take_output(id, &mut batch);
    assert!(batch.concat().len() < ANSWERS, "too much is said");
    core.gone(id, Duration::ZERO);
    assert!(core.look().connections.is_empty());
}
