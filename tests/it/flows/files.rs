//! Files: large ones, and a hub that dies over one.

use crate::hub::{Hub, READER, wait_for};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

const BANK: &str = r#"
    [systems.bank]
    adapter = "client-bank-exchange"
    folder = { path = "inbox", settle-ms = 100 }
    [systems.bank.grants]
    emit = ["payment.received.v1", "payment.rejected.v1", "statement.imported.v1"]
"#;

/// A statement of so many incoming documents, 20 lines each; returns the number of lines.
fn statement(path: &Path, documents: usize) -> usize {
    let ours = "40702810000000000001";
    let mut text = format!(
        "1CClientBankExchange\r\nВерсияФормата=1.03\r\nКодировка=UTF-8\r\nОтправитель=Банк\r\nДатаНачала=20.11.2026\r\nДатаКонца=20.11.2026\r\nРасчСчет={ours}\r\nСекцияРасчСчет\r\nДатаНачала=20.11.2026\r\nДатаКонца=20.11.2026\r\nРасчСчет={ours}\r\nНачальныйОстаток=0.00\r\nВсегоПоступило={documents}.00\r\nВсегоСписано=0.00\r\nКонечныйОстаток={documents}.00\r\nКонецРасчСчет\r\n"
    );
    for number in 1..=documents {
        let payer = format!("40817810{number:012}");
        write!(
            text,
            "СекцияДокумент=Платежное поручение\r\nНомер={number}\r\nДата=20.11.2026\r\nСумма=1.00\r\nПлательщикСчет={payer}\r\nПлательщик=Плательщик {number}\r\nПлательщикИНН=\r\nПлательщик1=Плательщик {number}\r\nПлательщикБИК=044525225\r\nПлательщикКорсчет=30101810400000000225\r\nПолучательСчет={ours}\r\nДатаПоступило=20.11.2026\r\nПолучатель=Сети\r\nПолучательИНН=7700000000\r\nВидПлатежа=Электронно\r\nВидОплаты=01\r\nОчередность=5\r\nКод=0\r\nНазначениеПлатежа=Оплата ЛС: {number:010}\r\nКонецДокумента\r\n"
        )
        .unwrap();
    }
    text.push_str("КонецФайла\r\n");
    // Written aside and renamed, as a well-behaved sender does.
    let aside = path.with_extension("part");
    std::fs::write(&aside, &text).unwrap();
    std::fs::rename(aside, path).unwrap();
    text.matches('\n').count()
}

async fn done(hub: &Hub, name: &str, within: Duration) -> Value {
    let began = Instant::now();
    loop {
        let intakes = hub.intakes("system=bank").await;
        if let Some(intake) = intakes.into_iter().find(|i| i["name"] == name && i["outcome"] != "refused") {
            return intake;
        }
        assert!(began.elapsed() < within, "{name} was not taken in time\n{}", hub.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_lines_are_taken_in_little_memory() {
    let hub = Hub::start(BANK);
    let lines = statement(&hub.path("inbox/large.txt"), 50_000);
    assert!(lines >= 1_000_000, "{lines}");
    let began = Instant::now();
    let intake = done(&hub, "large.txt", Duration::from_secs(240)).await;
    let peak = hub.memory_peak_bytes() >> 20;
    println!("{lines} lines in {:?}, peak memory of the hub {peak} MiB", began.elapsed());
    assert_eq!((&intake["outcome"], &intake["messages"]), (&json!("accepted"), &json!(50_001)));
    assert!(peak < 256, "{peak} MiB");
    wait_for("the file in done/", async || hub.path("inbox/done/large.txt").exists().then_some(())).await;
    assert!(hub.path("inbox/done/large.txt.report.txt").exists());
}

/// Killed at several moments of one file: each time all of it is there in the end, and once.
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_killed_over_a_file_takes_all_of_it_once() {
    let mut hub = Hub::start(BANK);
    for (round, millis) in [150, 400, 900, 1500].into_iter().enumerate() {
        let name = format!("round-{round}.txt");
        statement(&hub.path(&format!("inbox/{name}")), 2_000 + round);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        hub.restart();
        let taken =
            wait_for("the file in done/", async || hub.path(&format!("inbox/done/{name}")).exists().then_some(()));
        taken.await;
    }
    // The documents of a round are those of the round before and one more, under their own ids.
    let first = hub.get(READER, "/v1/messages?type=payment.received.v1&limit=1").await.body;
    assert_eq!(first["messages"].as_array().map(Vec::len), Some(1));
    let mut count = 0;
    let mut after = String::new();
    loop {
        let page = hub.get(READER, &format!("/v1/messages?type=payment.received.v1&limit=500{after}")).await.body;
        count += page["messages"].as_array().unwrap().len();
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(count, 2_003);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_whole_files_are_taken() {
    let hub = Hub::start(BANK);
    let whole = hub.path("whole.txt");
    statement(&whole, 3);
    let text = std::fs::read(&whole).unwrap();
    let (first, rest) = text.split_at(text.len() / 2);
    // Still being written: it grows more often than it may stand still.
    let growing = hub.path("inbox/growing.txt");
    std::fs::write(&growing, first).unwrap();
    let mut file = std::fs::File::options().append(true).open(&growing).unwrap();
    for chunk in rest.chunks(rest.len() / 8) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        std::io::Write::write_all(&mut file, chunk).unwrap();
    }
    // Names that say so themselves, hidden ones, and links are left alone.
    std::fs::copy(&whole, hub.path("inbox/unfinished.part")).unwrap();
    std::fs::copy(&whole, hub.path("inbox/.hidden")).unwrap();
    std::os::unix::fs::symlink(&whole, hub.path("inbox/link.txt")).unwrap();
    let intake = done(&hub, "growing.txt", Duration::from_secs(20)).await;
    assert_eq!(intake["messages"], 4);
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(hub.intakes("system=bank").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_is_refused_with_its_place_and_a_report() {
    let hub = Hub::start(BANK);
    let broken = "1CClientBankExchange\nВерсияФормата=1.03\nКодировка=Windows\nСекцияРасчСчет\n";
    std::fs::write(hub.path("inbox/broken.txt"), broken).unwrap();
    let report = hub.path("inbox/failed/broken.txt.report.txt");
    wait_for("the report", async || report.exists().then_some(())).await;
    wait_for("the file", async || hub.path("inbox/failed/broken.txt").exists().then_some(())).await;
    let text = std::fs::read_to_string(report).unwrap();
    for part in ["refused", "place", "line ", "remedy"] {
        assert!(text.contains(part), "{text}");
    }
    let intakes = hub.intakes("outcome=refused").await;
    assert!(intakes[0]["error"]["place"].as_str().unwrap().starts_with("line "), "{intakes:?}");
    assert!(hub.messages("").await.is_empty());
}
