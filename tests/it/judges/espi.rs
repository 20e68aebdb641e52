//! Green Button feeds by PyPI's greenbutton-objects: generated ones, and the Green Button Alliance's own where they are, are read to
//! the same readings by it and by the adapter.

use super::{Dice, Judge, of_type, report, run, sorted};
use crate::hub::root;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const VERSION: &str = "PyPI greenbutton-objects 2024.7.11";
const FEEDS: usize = 100;
const POINT: &str = "/espi/1_1/resource/UsagePoint/7";

fn entry(number: usize, links: &[(&str, String)], content: &str) -> String {
    let links: String = links.iter().map(|(rel, href)| format!("<link rel=\"{rel}\" href=\"{href}\"/>")).collect();
    format!(
        "<entry><id>urn:uuid:0a1b2c3d-0000-4000-8000-{number:012}</id>{links}<title>x</title><content>{content}</content>\
         <updated>2026-11-20T00:00:00Z</updated></entry>\n"
    )
}

fn blocks(dice: &mut Dice, meter: &str, first: usize) -> String {
    let seconds = dice.of(&[900, 1800, 3600]);
    let block = |n: usize, dice: &mut Dice| {
        let start = 1_330_578_000 + n as u64 * 86_400;
        let mut readings = String::new();
        for at in 0..86_400 / seconds {
            if dice.one_in(9) {
                continue;
            }
            let qualities = [0, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18];
            let quality = match dice.one_in(4) {
                true => format!("<ReadingQuality><quality>{}</quality></ReadingQuality>", dice.of(&qualities)),
                false => String::new(),
            };
            let (begin, value) = (start + at * seconds, dice.below(1_000_000));
            readings += &format!(
                "<IntervalReading>{quality}<timePeriod><duration>{seconds}</duration><start>{begin}</start></timePeriod>\
                 <value>{value}</value></IntervalReading>"
            );
        }
        let content = format!(
            "<IntervalBlock xmlns=\"http://naesb.org/espi\"><interval><duration>86400</duration><start>{start}</start></interval>\
             {readings}</IntervalBlock>"
        );
        let links = [("self", format!("{meter}/IntervalBlock/{n}")), ("up", format!("{meter}/IntervalBlock"))];
        entry(first + n, &links, &content)
    };
    (0..1 + dice.below(3) as usize).map(|n| block(n, dice)).collect()
}

/// One usage point, and meters of several quantities.
fn feed(dice: &mut Dice) -> String {
    let point =
        "<UsagePoint xmlns=\"http://naesb.org/espi\"><ServiceCategory><kind>0</kind></ServiceCategory></UsagePoint>";
    let links = [
        ("self", POINT.to_string()),
        ("up", "/espi/1_1/resource/UsagePoint".into()),
        ("related", format!("{POINT}/MeterReading")),
    ];
    let mut entries = entry(7, &links, point);
    for meter in 0..1 + dice.below(3) as usize {
        let (uom, kind) = dice.of(&[(72, 12), (73, 12), (38, 37), (38, 8)]);
        // Power is no difference of two registers, and has no direction.
        let accumulation = if uom == 38 { 0 } else { dice.of(&[4, 1, 3, 9]) };
        let direction = if uom == 38 { 1 } else { dice.of(&[1, 19]) };
        let (own, kinds) = (format!("{POINT}/MeterReading/{meter}"), format!("/espi/1_1/resource/ReadingType/{meter}"));
        let links = [
            ("self", own.clone()),
            ("up", format!("{POINT}/MeterReading")),
            ("related", format!("{own}/IntervalBlock")),
            ("related", kinds.clone()),
        ];
        entries += &entry(100 + meter, &links, "<MeterReading xmlns=\"http://naesb.org/espi\"/>");
        let content = format!(
            "<ReadingType xmlns=\"http://naesb.org/espi\"><accumulationBehaviour>{accumulation}</accumulationBehaviour>\
             <commodity>1</commodity><dataQualifier>12</dataQualifier><flowDirection>{}</flowDirection><kind>{kind}</kind>\
             <phase>769</phase><powerOfTenMultiplier>{}</powerOfTenMultiplier><uom>{uom}</uom></ReadingType>",
            direction,
            dice.of(&[-3, 0, 3])
        );
        entries += &entry(200 + meter, &[("self", kinds), ("up", "/espi/1_1/resource/ReadingType".into())], &content);
        entries += &blocks(dice, &own, 1000 + meter * 100);
    }
    format!(
        "<?xml version=\"1.0\"?>\n<feed xmlns=\"http://www.w3.org/2005/Atom\"><id>urn:uuid:f</id>\n{entries}</feed>"
    )
}

/// A reading of the library in the words of the messages; nothing for what the adapter says that it does not carry.
fn meant(reading: &Value) -> Option<String> {
    let word = |at: usize| reading[at].as_str().unwrap();
    let quantity = match (word(0), word(1)) {
        ("wattHours", direction) => format!("active-energy-{direction}"),
        ("voltAmpReactiveHours", direction) => format!("reactive-energy-{direction}"),
        ("watts", "forward") => "active-power".into(),
        _ => return None,
    };
    let quality = match reading[6][0].as_str().unwrap_or("valid") {
        "valid" | "validated" | "verified" => "valid",
        "manuallyEdited" => "edited",
        "estimatedUsingReferenceDay" | "estimatedUsingLinearInterpolation" => "estimated",
        "questionable" => "doubtful",
        same @ ("derived" | "projected" | "raw") => same,
        _ => "other",
    };
    let value = reading[5].as_f64().unwrap() / 1000.0;
    let (start, end) = (&reading[3], &reading[4]);
    match word(2) {
        "deltaData" | "notApplicable" => Some(format!("{quantity} from {start}: {value:.6} {quality}")),
        "bulkQuantity" | "cumulative" | "summation" => Some(format!("{quantity} at {end}: {value:.6} {quality}")),
        _ => None,
    }
}

fn stated(shown: &Value) -> Vec<String> {
    let seconds = |text: &Value| OffsetDateTime::parse(text.as_str().unwrap(), &Rfc3339).unwrap().unix_timestamp();
    let number = |value: &Value| value.as_str().unwrap().parse::<f64>().unwrap();
    let mut facts = Vec::new();
    for data in of_type(shown, "interval.consumption.measured.v1").map(|message| &message["data"]) {
        for one in data["values"].as_array().unwrap() {
            let (at, quality) = (seconds(&one["startAt"]), one["quality"].as_str().unwrap_or("valid"));
            facts.push(format!(
                "{} from {at}: {:.6} {quality}",
                data["quantity"].as_str().unwrap(),
                number(&one["value"])
            ));
        }
    }
    for data in of_type(shown, "meter.reading.taken.v1").map(|message| &message["data"]) {
        let (at, register) = (seconds(&data["takenAt"]), &data["registers"][0]);
        let quality = register["quality"].as_str().or(data["quality"].as_str()).unwrap_or("valid");
        facts.push(format!(
            "{} at {at}: {:.6} {quality}",
            register["quantity"].as_str().unwrap(),
            number(&register["value"])
        ));
    }
    facts
}

/// The feeds of the samples that have usage in them.
fn samples() -> Vec<String> {
    let folder = root().join("../shared/samples/billing_meter/espi_green_button");
    let Ok(files) = std::fs::read_dir(folder) else {
        println!("NOT CHECKED: the samples are not here");
        return Vec::new();
    };
    let texts = files.flatten().map(|file| std::fs::read_to_string(file.path()).unwrap());
    texts.filter(|text| text.contains("IntervalBlock")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feeds_are_read_as_another_reader_reads_them() {
    let mut dice = Dice::thrown("espi");
    let mut feeds: Vec<String> = (0..FEEDS).map(|_| feed(&mut dice)).collect();
    feeds.extend(samples());
    let Some(read) =
        Judge::Python.ask(&["lines", "green_button", "feed"], feeds.iter().map(|f| f.as_str().into()).collect()).await
    else {
        return;
    };
    let (mut differences, mut readings) = (Vec::new(), 0);
    for (number, (feed, read)) in feeds.iter().zip(&read).enumerate() {
        let meant = sorted(read.as_array().unwrap().iter().filter_map(meant));
        let shown = run("espi", "decode", feed, json!({})).await;
        let found = sorted(stated(&shown).into_iter());
        readings += meant.len();
        if found != meant {
            let odd: Vec<_> = found.iter().zip(&meant).filter(|(found, meant)| found != meant).take(3).collect();
            let (here, there) = (found.len(), meant.len());
            differences.push(format!(
                "feed {number}: {here} of {there} readings, {odd:?}; {} {}",
                shown["result"], shown["left-out"]
            ));
        }
    }
    println!("{readings} readings in {} feeds", feeds.len());
    differences.truncate(5);
    report("Green Button, NAESB ESPI", VERSION, feeds.len(), &differences);
}
