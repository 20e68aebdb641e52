//! The published PDUs, each to a session that is bound (answers to the bind to one that is not), whole and cut in two at every
//! byte. The samples are not part of the project; without them the test says so and passes.

#![allow(clippy::unwrap_used, clippy::panic)]

use busbar_sdk::bindings::busbar::adapter::credentials::Piece;
use busbar_sdk::memory::MapStore;
use busbar_sdk::{Failure, Step, TestHub};
use serde_json::{Value, json};
use smpp::session::Smpp;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/samples/sms/smpp34/pdu_vectors.hex.txt");
const BOUND: [u8; 17] = [0, 0, 0, 17, 0x80, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0];

/// What each leads to: what is sent as command, status and sequence; what is stated.
const EXPECTED: &str = "\
LessThan4Bytes
Only4Bytes
LessThan16Bytes
UnsupportedRequestCommandId 80000000/3/0a342ee7
UnsupportedResponseCommandId
BadPduButSkipAllDataInBuffer 80000000/3/0a342ee7 80000015/0/0a342ee7
SignedIntLength bad-length
MaxSequenceNumber 80000015/0/7fffffff
TooBigSequenceNumber 80000015/0/80000000
ZeroSequenceNumber 80000015/0/00000000
SequenceNumberOfOne 80000015/0/00000001
SequenceNumberMaxValue 80000015/0/7fffffff
EnquireLink 80000015/0/0a342ee7
EnquireLinkResp
TwoEnquireLinkRespButWithReadRequiredInBetween
TwoEnquireLinkRespButWithReadRequiredInBetween
SubmitSmResp
SubmitSmRespWithNoMessageId
SubmitSmRespWithEmptyMessageId
SubmitSmRespWithNoNullByteForMessageId
DeliverSmResp
DeliverSmRespWithEmptyMessageId
DeliverSmRespWithNoMessageId
DataSmResp
DataSmRespWithEmptyMessageId
DataSmRespWithNoMessageId
BindTransceiverResp ready
BindTransceiverRespFailedButWithSystemId unauthorized
BindTransceiverRespWithOptionalParams ready
BindTransmitterRespWithOptionalParams
BindReceiverRespWithOptionalParams
BindTransceiver 80000000/3/00039951
BindTransmitter 80000000/3/0003995f
BindReceiver 80000000/3/00039961
DeliverSm 80000005/0/00000003 87654321:¡¤#!%&/:
DeliverSmAsDeliveryReceipt held 80000005/0/00000002
DeliverSmNetforsDeliveryReceiptTriggeredErrorInLegacySmppLibrary held 80000005/0/00000005
SubmitSm 80000000/3/00004fe8
Unbind 80000006/0/00000001 close
UnbindResp
GenericNak
DeliverSmWithOptionalMessagePayload 80000005/0/000547eb 4495136192:¡Maidenman664 was it sappy? &Romantic?
DeliverSmWith2BytePayload 80000005/0/00657e4e 4495136192:Ok
DeliverSmWith1BytePayload 80000005/0/00657e4e 4495136192:O
DeliverSmWithNoPayload 80000005/0/00657e4e 4495136192:-
DeliverSmWithDeliveryReceiptThatFailedFromEndToEnd held 80000005/0/00116ad5
DeliveryReceipt0 held 80000005/0/00000001
LargeSequenceNumber 80000005/0/a2859f22 +44951361920:-
WAUMalformedPacket 80000005/0/a2859f22 +44951361920:-
DeliverSMWithCorrectTotalByteLengthButInvalidShortMessageLength 80000005/1/00000001
DeliverSMWithNotPerSpecSequenceNumberButNeedsToBeValid 80000005/0/806a179b +999919914593:\u{c1e1}\u{e9ed}\u{f3fa}\u{f1fc}
DataSM 80000103/0/00000000 +5552710000:Test
CancelSm 80000000/3/00004fe8
QuerySm 80000000/3/00004fe8
CancelSmResp
QuerySmResp
ReplaceSm 80000000/3/00004fe8
ReplaceSmResp
AlertNotification";

fn sent(step: &Step) -> Vec<String> {
    let mut bytes = Vec::new();
    step.send.iter().for_each(|piece| match piece {
        Piece::Plain(plain) => bytes.extend_from_slice(plain),
        Piece::Secret(_) => {}
    });
    let mut all = Vec::new();
    while bytes.len() >= 16 {
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        all.push(format!("{:08x}/{}/{:08x}", number(4), number(8), number(12)));
        bytes.drain(..usize::try_from(number(0)).unwrap());
    }
    all
}

fn outcome(is_bound: bool, parts: &[&[u8]]) -> String {
    let settings = json!({ "system-id": "busbar", "password": "p", "country": "" });
    let (mut seen, mut store, now) = (TestHub::default(), MapStore::default(), 1_795_338_000_000);
    let mut smpp = Smpp::new(serde_json::from_value(settings).unwrap()).unwrap();
    smpp.connected(8, now, &mut seen, &mut store).unwrap();
    if is_bound {
        smpp.bytes(&BOUND, now, &mut seen, &mut store).unwrap();
    }
    let mut found = Vec::new();
    let mut timer = None;
    for part in parts {
        match smpp.bytes(part, now, &mut seen, &mut store) {
            Ok(step) => {
                found.extend(sent(&step));
                timer = step.timer_ms;
                found.extend((step.ready && !is_bound).then(|| "ready".to_owned()));
                found.extend(step.close.is_some().then(|| "close".to_owned()));
            }
            Err(Failure::Rejected(rejection)) => return rejection.code,
            Err(Failure::Unauthorized(_)) => return "unauthorized".to_owned(),
            Err(other) => panic!("{other:?}"),
        }
    }
    if timer == Some(5000) {
        found.push("held".to_owned());
        found.extend(sent(&smpp.timer(now + 5000, &mut seen, &mut store).unwrap()));
    }
    for draft in seen.drafts {
        let data: Value = serde_json::from_str(&draft.data).unwrap();
        let who = data["customer"]["phone"].as_str().or(data["customer"]["name"].as_str()).unwrap();
        found.push(format!("{who}:{}", data["text"].as_str().unwrap_or("-")));
    }
    found.join(" ")
}

#[test]
fn all_of_them() {
    let Ok(text) = std::fs::read_to_string(SAMPLE) else { return println!("skipped: no samples") };
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines.len(), EXPECTED.lines().count());
    for (line, expected) in lines.iter().zip(EXPECTED.lines()) {
        let (name, hex) = line.split_once('\t').unwrap();
        let (short, expected) = expected.split_once(' ').unwrap_or((expected, ""));
        assert_eq!(name, format!("decode{short}"));
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let bytes: Vec<u8> = hex.as_bytes().chunks(2).map(byte).collect();
        let is_bound = !name.starts_with("decodeBindTransceiverResp");
        // The answer to the bind that was sent as the first.
        assert_eq!(outcome(is_bound, &[&bytes]), expected, "{name}");
        for at in 0..bytes.len() {
            let (first, second) = bytes.split_at(at);
            assert_eq!(outcome(is_bound, &[first, second]), expected, "{name} cut at {at}");
        }
    }
}
