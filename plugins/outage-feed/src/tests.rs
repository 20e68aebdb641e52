use busbar_sdk::http::Response;
use busbar_sdk::memory::MapStore;
use busbar_sdk::{Failure, Header, mutations, parse_settings, rejected};
use serde_json::{Value, json};

use crate::poll::{Cursor, News, run};

/// A system that is polled again and again.
struct System {
    settings: String,
    store: MapStore,
    cursor: Option<Vec<u8>>,
    asked: Vec<String>,
}

impl System {
    fn new(shape: &str, more: Value) -> Self {
        let mut settings = json!({ "urls": ["http://feed"], "shape": shape });
        for (key, value) in more.as_object().unwrap() {
            settings[key] = value.clone();
        }
        Self { settings: settings.to_string(), store: MapStore::default(), cursor: None, asked: Vec::new() }
    }

    fn poll(&mut self, answers: &[(u16, &[u8])]) -> Result<News, Failure> {
        let mut answers = answers.iter();
        let mut fetch = |request: &busbar_sdk::http::Request| {
            let tag = busbar_sdk::header(&request.headers, "if-none-match").unwrap_or("-");
            self.asked.push(format!("{} {tag}", request.url));
            let (status, body) = answers.next().ok_or_else(|| rejected("test", "asked once too often", ""))?;
            let headers = vec![Header { name: "ETag".into(), value: "\"1\"".into() }];
            Ok(Response { status: *status, headers, body: body.to_vec() })
        };
        let cursor = Cursor::of(self.cursor.clone(), &self.settings)?;
        let news = run(parse_settings(&self.settings)?, cursor, &mut fetch, &mut self.store)?;
        assert!(answers.next().is_none(), "an answer was not asked for");
        self.cursor = serde_json::to_vec(&news.cursor).ok();
        Ok(news)
    }

    fn said(&mut self, body: &[u8]) -> Vec<Value> {
        self.poll(&[(200, body)])
            .unwrap()
            .drafts
            .iter()
            .map(|draft| serde_json::from_str(&draft.data).unwrap())
            .collect()
    }

    fn refused(&mut self, body: &[u8]) -> (String, String) {
        match self.poll(&[(200, body)]).map(|news| news.drafts.len()) {
            Err(Failure::Rejected(rejection)) => (rejection.code, rejection.place.unwrap_or_default()),
            other => panic!("{other:?}"),
        }
    }
}

fn feature(id: &str, kind: &str, status: &str, end: &str) -> Value {
    json!({ "type": "Feature", "properties": {
        "EVENT_ID": id, "TYPE": kind, "STATUS": status, "START": "8:00AM 10 Mar 2026", "EST_FIX_TIME": end,
        "CUSTOMERS_AFFECTED": "7", "REASON": "Storm damage", "STREETS": "LIME ST, ", "SUBURBS": "OAKVILLE"
    }})
}

fn collection(features: &[Value]) -> Vec<u8> {
    json!({ "type": "FeatureCollection", "features": features }).to_string().into_bytes()
}

#[test]
fn only_what_changed_is_said_and_what_is_gone_is_over() {
    let mut system = System::new("energyq-geojson", json!({ "vanished": "restored", "utc-offset": "+10:00" }));
    let first = feature("A", "UNPLANNED", "Outage reported", "Under Investigation");
    let planned = feature("B", "PLANNED", "Scheduled", "3:00PM 10 Mar 2026");
    let said = system.said(&collection(&[first.clone(), planned.clone()]));
    assert_eq!(said.len(), 2);
    assert_eq!(
        said[0],
        json!({ "id": "A", "kind": "emergency", "status": "started", "revision": 1,
            "startedAt": "2026-03-10T08:00:00+10:00", "cause": { "code": "weather", "text": "Storm damage" },
            "affected": { "customers": 7, "addresses": [{ "text": "LIME ST (OAKVILLE)" }] }, "notice": "Outage reported" })
    );
    assert_eq!((&said[1]["kind"], &said[1]["status"]), (&json!("planned"), &json!("planned")));
    assert_eq!(said[1]["plannedStartAt"], "2026-03-10T08:00:00+10:00");
    assert_eq!(said[1]["expectedRestorationAt"], "2026-03-10T15:00:00+10:00");

    // The same in another order is no news; unchanged altogether it is not even sent.
    assert!(system.said(&collection(&[planned.clone(), first.clone()])).is_empty());
    assert!(system.poll(&[(304, b"")]).unwrap().drafts.is_empty());

    let later = feature("A", "UNPLANNED", "Crews on site", "1:00PM 10 Mar 2026");
    let said = system.said(&collection(&[later.clone(), planned.clone()]));
    assert_eq!((said.len(), &said[0]["status"], &said[0]["revision"]), (1, &json!("updated"), &json!(2)));

    // Once missing may be a hiccup. What is missing is asked for without the tag.
    assert!(system.said(&collection(&[])).is_empty());
    let said = system.said(&collection(&[]));
    let over =
        |index: usize| (said[index]["id"].clone(), said[index]["status"].clone(), said[index]["revision"].clone());
    assert_eq!(over(0), (json!("A"), json!("restored"), json!(3)));
    assert_eq!(over(1), (json!("B"), json!("closed"), json!(2)));
    assert!(system.said(&collection(&[])).is_empty());

    // It comes back: another message, of a higher revision.
    let said = system.said(&collection(&[later]));
    assert_eq!((&said[0]["status"], &said[0]["revision"]), (&json!("started"), &json!(4)));
    let tags: Vec<bool> = system.asked.iter().map(|asked| asked.ends_with("\"1\"")).collect();
    assert_eq!(tags, [false, true, true, true, true, false, true, true]);
}

#[test]
fn several_feeds_are_one() {
    let mut system = System::new("energyq-geojson", json!({ "urls": ["http://a", "http://b"] }));
    let one = collection(&[feature("A", "PLANNED", "Scheduled", "3:00PM 10 Mar 2026")]);
    let both = collection(&[feature("A", "PLANNED", "Rescheduled", "3:00PM 10 Mar 2026"), feature("B", "X", "", "")]);
    let news = system.poll(&[(200, &one), (200, &both)]).unwrap();
    assert_eq!(news.drafts.iter().map(|draft| draft.subject.clone().unwrap()).collect::<Vec<_>>(), ["A", "B"]);
    assert!(news.drafts[1].data.contains(r#""kind":"unknown""#));
    assert!(system.poll(&[(304, b""), (304, b"")]).unwrap().drafts.is_empty());
    // One has changed: the other is read again.
    assert!(system.poll(&[(304, b""), (200, &both), (200, &one)]).unwrap().drafts.is_empty());
    let broken = system.poll(&[(200, &one), (200, b"{")]).unwrap_err();
    let Failure::Rejected(rejection) = broken else { panic!("{broken:?}") };
    assert_eq!(rejection.place.as_deref(), Some("feed 2, line 1, column 1"));
}

#[test]
fn an_id_that_no_message_can_have_is_replaced() {
    let mut system = System::new("energyq-geojson", json!({}));
    let ids = ["x".repeat(65), "A\u{1}".to_owned(), "A\u{7f}".to_owned()];
    let features: Vec<Value> = ids.iter().map(|id| feature(id, "PLANNED", "Scheduled", "")).collect();
    let news = system.poll(&[(200, &collection(&features))]).unwrap();
    let wanted: Vec<_> = ids.iter().map(|id| Some(busbar_sdk::ids::derived(&[id]))).collect();
    assert_eq!(news.drafts.into_iter().map(|draft| draft.subject).collect::<Vec<_>>(), wanted);
}

#[test]
fn a_cut_feed_is_no_news() {
    let mut system = System::new("energyq-geojson", json!({}));
    for (body, code, place) in [
        (&b"<html>busy</html>"[..], "not-json", "line 1, column 1"),
        (b"{\"error\":\"busy\"}", "not-this-shape", "/features"),
        (b"{\"features\":{}}", "not-this-shape", "/features"),
    ] {
        assert_eq!(system.refused(body), (code.to_owned(), place.to_owned()));
    }
    assert!(system.store.0.is_empty());
}

/// What is left out is there, whatever it is: it is never over.
#[test]
fn a_bad_entry_is_left_out_and_is_not_gone() {
    let good = feature("A", "PLANNED", "Scheduled", "3:00PM 10 Mar 2026");
    let bad_time = feature("B", "PLANNED", "On hold", "soon");
    let twice = [feature("B", "PLANNED", "On hold", ""), feature("B", "PLANNED", "Rescheduled", "")];
    let unknown = feature("B", "PLANNED", "Evaporated", "");
    let mut nameless = feature("", "PLANNED", "On hold", "");
    nameless["properties"]["EVENT_ID"] = Value::Null;
    for (bad, code, place) in [
        (&[bad_time][..], "bad-time", "outage B, field properties/EST_FIX_TIME"),
        (&twice, "repeated-outage", "outage B"),
        (&[unknown], "unknown-status", "outage B, field properties/STATUS"),
        (&[nameless], "no-id", "field properties/EVENT_ID"),
        (&[Value::Null], "no-id", "field properties/EVENT_ID"),
    ] {
        let mut system = System::new("energyq-geojson", json!({ "vanished": "restored", "vanished-after": 1 }));
        system.said(&collection(&[feature("B", "UNPLANNED", "On hold", ""), good.clone()]));
        let body = collection(&[bad, std::slice::from_ref(&good)].concat());
        for _ in 0..3 {
            let news = system.poll(&[(200, &body)]).unwrap();
            assert_eq!(news.drafts.len(), 0, "{code}");
            let [left_out] = &news.left_out[..] else { panic!("{:?}", news.left_out) };
            assert_eq!((left_out.code.as_str(), left_out.place.as_deref()), (code, Some(place)));
        }
        // No validators: it must be told of again.
        assert_eq!(system.asked.last().unwrap(), "http://feed -");
        assert_eq!(system.said(&collection(std::slice::from_ref(&good)))[0]["status"], "restored", "{code}");
    }
}

fn arcgis(ids: std::ops::Range<u32>, is_cut: bool) -> Vec<u8> {
    let features: Vec<Value> =
        ids.map(|id| json!({ "attributes": { "OBJECTID": id, "OFF_TIME": 1795325960000_u64 } })).collect();
    json!({ "features": features, "exceededTransferLimit": is_cut }).to_string().into_bytes()
}

fn arcgis_system() -> System {
    let table = json!({ "items": "/features", "id": ["/attributes/OBJECTID"], "kind": { "otherwise": "emergency" },
        "start": { "at": ["/attributes/OFF_TIME"] } });
    System::new("table", json!({ "table": table, "vanished": "restored", "vanished-after": 1 }))
}

/// ArcGIS REST API, query of a feature layer: `exceededTransferLimit`, `resultOffset`.
#[test]
fn a_cut_list_is_read_on_or_is_no_poll() {
    let mut system = arcgis_system();
    let [first, second, third] = [arcgis(0..3, true), arcgis(3..6, true), arcgis(6..7, false)];
    assert_eq!(system.poll(&[(200, &first), (200, &second), (200, &third)]).unwrap().drafts.len(), 7);
    assert_eq!(system.asked[1..], ["http://feed?resultOffset=3 -", "http://feed?resultOffset=6 -"]);
    let kept = system.store.clone();
    let empty = arcgis(0..0, true);
    let total = br#"{"features":[{"attributes":{"OBJECTID":0}}],"numberMatched":7}"#;
    let geojson = br#"{"features":[{"attributes":{"OBJECTID":0}}],"properties":{"exceededTransferLimit":true}}"#;
    for answers in [
        &[(200, &first[..]), (200, &first[..])][..],
        &[(200, &first), (200, &empty)],
        &[(200, &first), (500, b"busy")],
        &[(200, geojson), (200, geojson)],
        &[(200, total)],
    ] {
        system.poll(answers).unwrap_err();
        assert_eq!(system.store, kept);
    }
    assert_eq!(system.said(&arcgis(0..6, false))[0]["status"], "restored");
}

#[test]
fn a_large_feed_is_said_in_parts() {
    let mut system = System::new("energyq-geojson", json!({}));
    let features: Vec<Value> = (0..1200).map(|n| feature(&format!("E{n}"), "PLANNED", "Scheduled", "")).collect();
    let body = collection(&features);
    let mut counts = Vec::new();
    loop {
        let news = system.poll(&[(200, &body)]).unwrap();
        counts.push(news.drafts.len());
        if !news.more {
            break;
        }
    }
    assert_eq!(counts, [500, 500, 200]);
    assert_eq!(system.asked.last().unwrap(), "http://feed -");
    assert!(system.store.0.values().all(|value| value.len() < 64 << 10));
    let features: Vec<Value> = (0..5001).map(|n| feature(&format!("E{n}"), "PLANNED", "Scheduled", "")).collect();
    assert_eq!(system.refused(&collection(&features)).0, "too-many-outages");
}

#[test]
fn pages_and_fias_in_windows_1251() {
    let mut system = System::new("strapi-fias", json!({}));
    let page = |number: u32, pages: u32| {
        json!({ "data": [{ "id": number, "attributes": {
            "begin": "2026-03-10T06:00:00.000Z", "end": "2026-03-10T06:00:00.000Z", "updatedAt": "2026-03-09T12:00:00.123Z",
            "comment": "Замена опоры",
            "uzel_podklyucheniya": { "data": { "id": 9, "attributes": { "name": "КТП-1", "uliczas": { "data": [
                { "attributes": { "name": "г Заречный, ул Садовая", "comment": "1-15",
                    "fias": { "data": { "street_fias_id": "3F1C7A52-0b6e-4d19-9a84-5c2e7d90ab11", "house_fias_id": null } } } },
                { "attributes": { "name": "г Заречный", "comment": "", "fias": null } }
            ] } } } }
        } }], "meta": { "pagination": { "pageCount": pages } } })
        .to_string()
    };
    let one = page(1, 2);
    let windows = busbar_sdk::encoding::Encoding::Windows1251.encode(&one);
    let news = system.poll(&[(200, &windows), (200, page(2, 2).as_bytes())]).unwrap();
    assert_eq!(system.asked, ["http://feed -", "http://feed?pagination[page]=2 -"]);
    let data: Value = serde_json::from_str(&news.drafts[0].data).unwrap();
    assert_eq!(
        data,
        json!({ "id": "1", "kind": "planned", "status": "planned", "revision": 1,
            "changedAt": "2026-03-09T15:00:00+03:00", "plannedStartAt": "2026-03-10T09:00:00+03:00",
            "equipment": [{ "id": "9", "name": "КТП-1" }], "notice": "Замена опоры",
            "affected": { "addresses": [
                { "text": "г Заречный, ул Садовая, 1-15", "fias": "3f1c7a52-0b6e-4d19-9a84-5c2e7d90ab11" },
                { "text": "г Заречный" }
            ] } })
    );
    assert_eq!(news.drafts[0].time.as_deref(), Some("2026-03-09T15:00:00+03:00"));
    assert_eq!(
        news.warnings,
        [
            "/data/0: the end is not after the start and is left out",
            "/data/0: the end is not after the start and is left out"
        ]
    );
    let endless = page(1, 99);
    let answers = vec![(200, endless.as_bytes()); 30];
    let failure = system.poll(&answers).unwrap_err();
    assert!(matches!(&failure, Failure::Rejected(rejection) if rejection.code == "too-many-pages"), "{failure:?}");
}

const RSS: &str = "<rss version='2.0'><channel><title>t</title><item><title>Oakville</title>\
    <pubDate>Tue, 21 Jul 2026 15:14:03 GMT</pubDate><guid>http://x/1</guid><description><![CDATA[<b>Rurals Affected: </b>North\
    <br/><b>Towns/Urbans Affected: </b>Oakville<br/><b>Outage date/time: </b>July 30, 2026 from 09:00 AM to 04:00 PM<br/>\
    <b>Outage Reason: </b>Tree Trimming<br/><b>Status: </b>Cancelled<br/>]]></description></item></channel></rss>";
const KML: &str = "<kml><Document><Folder><Placemark><name>R1</name><styleUrl>#no-outage</styleUrl></Placemark>\
    <Placemark><name>R2</name><styleUrl>#unplanned-outage</styleUrl><Point><coordinates>1,2</coordinates></Point></Placemark>\
    <Placemark><name>R3</name><styleUrl>#justresolved-outage</styleUrl></Placemark></Folder></Document></kml>";
const ALERTS: &str = r#"{"Outages":[{"OutageId":7,"Region":"R","Planned":"Unplanned","Alerts":[
    {"Message":"A planned outage is scheduled on 7/29 from 1:00pm"},{"Message":"older"}]},
    {"OutageId":8,"Region":"R","Planned":"Unplanned","Alerts":[]},
    {"OutageId":9,"Region":"R","Planned":"Planned","Alerts":[{"Message":"*CANCELLED* A planned outage"}]}]}"#;
const OMS: &str = r#"[{"geometry":{"coordinates":[1.5,2]},"properties":{"Cause":"Motor vehicle","CustomersAffected":75,
    "Feeder":"","StartTime":"2026-09-27T23:34:33","Substation":"OAK(1)"}}]"#;

#[test]
fn rss_kml_alerts_and_oms() {
    let said = System::new("planned-rss", json!({ "utc-offset": "-06:00" })).said(RSS.as_bytes());
    assert_eq!((&said[0]["id"], &said[0]["status"]), (&json!("http://x/1"), &json!("cancelled")));
    assert_eq!(said[0]["plannedStartAt"], "2026-07-30T09:00:00-06:00");
    assert_eq!(said[0]["expectedRestorationAt"], "2026-07-30T16:00:00-06:00");
    assert_eq!(said[0]["changedAt"], "2026-07-21T15:14:03-06:00");
    assert_eq!(said[0]["affected"], json!({ "addresses": [{ "text": "Oakville" }, { "text": "North" }] }));

    let said = System::new("regions-kml", json!({})).said(KML.as_bytes());
    let kinds: Vec<_> = said.iter().map(|said| [&said["id"], &said["kind"], &said["status"]]).collect();
    assert_eq!(json!(kinds), json!([["R2", "emergency", "started"], ["R3", "unknown", "restored"]]));

    let said = System::new("alerts-json", json!({})).said(ALERTS.as_bytes());
    let kinds: Vec<_> = said.iter().map(|said| [&said["id"], &said["kind"], &said["status"]]).collect();
    assert_eq!(
        json!(kinds),
        json!([["7", "planned", "planned"], ["8", "emergency", "started"], ["9", "planned", "cancelled"]])
    );

    let said = System::new("oms-geojson", json!({ "status": "restored" })).said(OMS.as_bytes());
    assert_eq!(said[0]["equipment"], json!([{ "id": "OAK(1)", "kind": "substation" }]));
    assert_eq!((&said[0]["status"], &said[0]["cause"]["code"]), (&json!("restored"), &json!("third-party-damage")));
    assert_eq!(said[0]["id"].as_str().unwrap().len(), 32);
}

#[test]
fn mutations_never_trap() {
    let geo = collection(&[feature("A", "UNPLANNED", "Crews", "1:00PM 10 Mar 2026")]);
    let seeds = [
        ("energyq-geojson", geo.as_slice()),
        ("planned-rss", RSS.as_bytes()),
        ("regions-kml", KML.as_bytes()),
        ("alerts-json", ALERTS.as_bytes()),
        ("oms-geojson", OMS.as_bytes()),
    ];
    for (shape, seed) in seeds {
        for bytes in mutations::of(seed, 3000) {
            let _ = System::new(shape, json!({})).poll(&[(200, &bytes)]);
        }
    }
    let deep = [b"{\"features\":".to_vec(), b"[".repeat(100_000)].concat();
    assert_eq!(System::new("energyq-geojson", json!({})).refused(&deep).0, "not-json");
    let bomb = b"<!DOCTYPE kml [<!ENTITY a 'aa'>]><kml>&a;</kml>";
    assert_eq!(System::new("regions-kml", json!({})).refused(bomb).0, "xml-dtd");
    assert_eq!(System::new("planned-rss", json!({})).refused(KML.as_bytes()).0, "not-this-shape");
    assert_eq!(System::new("regions-kml", json!({})).refused(RSS.as_bytes()).0, "not-this-shape");
}
