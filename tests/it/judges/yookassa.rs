//! YooKassa's own SDK for Python: the notifications, objects and lists that it writes are read as they were meant, each event that
//! it knows is known, and it takes the requests whole.

use super::{Dice, Judge, of_type, report, run};
use serde_json::{Value, json};

const VERSION: &str = "PyPI yookassa 3.13.0, YooKassa's SDK";

fn setup(page: &str, answers: &[&Value]) -> Value {
    let answers: Vec<Value> = answers.iter().map(|body| json!({ "status": 200, "body": body })).collect();
    json!({ "config": { "credential": "shop", "page": page, "return-url": "https://portal.example/paid" },
        "credentials": { "shop": "100500:invented-key-of-the-shop" }, "http": answers })
}

async fn asked(command: &str, lines: Vec<Value>) -> Option<Vec<Value>> {
    Judge::Python.ask(&["lines", "gateways", command], lines).await
}

/// A payment that succeeded, and what it is to become.
fn payment(dice: &mut Dice, number: usize) -> (Value, Value) {
    let kopecks = 100 + dice.below(9_000_000);
    let sum = |kopecks: u64| format!("{}.{:02}", kopecks / 100, kopecks % 100);
    let (id, account) =
        (format!("2f0e1d6a-000f-5000-8000-{number:012}"), format!("5001{:08}", dice.below(100_000_000)));
    let mut object = json!({
        "id": id, "status": "succeeded", "paid": true, "amount": { "value": sum(kopecks), "currency": "RUB" },
        "created_at": "2026-11-20T20:51:18.139Z", "captured_at": "2026-11-20T21:00:00.233Z", "test": false, "refundable": true,
        "metadata": { "account": account }, "recipient": { "account_id": "100500", "gateway_id": "100700" },
        "payment_method": { "type": dice.of(&["bank_card", "sbp", "sberbank", "cash", "yoo_money"]), "id": id, "saved": false },
    });
    let (mut fee, mut invoice) = (Value::Null, Value::Null);
    if dice.one_in(2) {
        let kept = 1 + dice.below(90);
        object["income_amount"] = json!({ "value": sum(kopecks - kept), "currency": "RUB" });
        fee = sum(kept).into();
    }
    if dice.one_in(2) {
        invoice = format!("2026-11-{number:06}").into();
        object["metadata"]["invoice"] = invoice.clone();
    }
    if dice.one_in(3) {
        object["authorization_details"] =
            json!({ "rrn": "100000000001", "auth_code": "000000", "three_d_secure": { "applied": true } });
        object["refunded_amount"] = json!({ "value": "0.00", "currency": "RUB" });
    }
    (object, json!([account, sum(kopecks), fee, invoice, "2026-11-21T00:00:00+03:00", id]))
}

fn refund(dice: &mut Dice, number: usize, paid: &Value) -> (Value, Value) {
    let id = format!("2f1a2b3c-0015-5000-8000-{number:012}");
    let sum = format!("{}.{:02}", dice.below(100), 1 + dice.below(99));
    let mut object = json!({ "id": id, "payment_id": paid["id"], "status": "succeeded", "created_at": "2026-11-22T06:00:00.100Z",
        "amount": { "value": sum, "currency": "RUB" } });
    if dice.one_in(2) {
        object["description"] = "Оплачено лишнее".into();
    }
    (object, json!([paid["metadata"]["account"], sum, null, null, "2026-11-22T09:00:00+03:00", id]))
}

fn facts(shown: &Value) -> Vec<Value> {
    let paid = of_type(shown, "payment.received.v1").map(|message| (&message["data"], "paidAt"));
    let back = of_type(shown, "payment.refunded.v1").map(|message| (&message["data"], "refundedAt"));
    let fact = |(data, at): (&Value, &str)| {
        json!([
            data["account"],
            data["amount"]["value"],
            data["fee"]["value"],
            data["invoice"],
            data[at],
            data["document"]["number"]
        ])
    };
    paid.chain(back).map(fact).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_of_the_sdk_are_read_as_they_were_meant() {
    let mut dice = Dice::thrown("yookassa, notifications");
    let Some(events) = asked("events", vec![Value::Null]).await else { return };
    let events: Vec<&str> = events[0].as_array().unwrap().iter().map(|event| event.as_str().unwrap()).collect();
    let (mut lines, mut meant, mut payments) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..160 {
        let event = events[number % events.len()];
        let (paid, fact) = payment(&mut dice, number);
        let (object, facts) = match event {
            "payment.succeeded" => (paid.clone(), vec![fact]),
            "refund.succeeded" => {
                let (object, fact) = refund(&mut dice, number, &paid);
                (object, vec![fact])
            }
            other => (json!({ "id": paid["id"], "status": other.rsplit('.').next() }), Vec::new()),
        };
        lines.push(json!({ "event": event, "object": object }));
        payments.push(json!(["/payments", paid]));
        meant.push(facts);
    }
    let (Some(told), Some(payments)) = (asked("notification", lines).await, asked("answer", payments).await) else {
        return;
    };
    let mut differences = Vec::new();
    for ((told, payment), meant) in told.iter().zip(&payments).zip(&meant) {
        let request = json!({ "method": "POST", "body": told.to_string() });
        let shown =
            run("yookassa", "receive", request.to_string(), setup("invoice", &[&told["object"], payment])).await;
        if &facts(&shown) != meant || shown["response"]["status"] != 200 {
            differences.push(format!("{told}: {:?}, meant is {meant:?}; {}", facts(&shown), shown["result"]));
        }
    }
    report("YooKassa's notifications and objects", VERSION, told.len(), &differences);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_the_sdk_are_read_as_they_were_meant() {
    let mut dice = Dice::thrown("yookassa, lists");
    let (mut lines, mut meant) = (Vec::new(), Vec::new());
    for page in 0..40 {
        let mut paid: Vec<_> = (0..1 + dice.below(8) as usize).map(|n| payment(&mut dice, page * 10 + n)).collect();
        let path = dice.of(&["/payments", "/refunds"]);
        if path == "/refunds" {
            paid = paid.iter().enumerate().map(|(n, (object, _))| refund(&mut dice, page * 10 + n, object)).collect();
            // All of one payment, whose account the poll asks for.
            paid.truncate(1);
        }
        let (items, facts): (Vec<_>, Vec<_>) = paid.into_iter().unzip();
        lines.push(json!([path, { "items": items, "next_cursor": "37a5c87d-3984" }]));
        meant.push(facts);
    }
    let Some(lists) = asked("answer", lines.clone()).await else { return };
    let mut differences = Vec::new();
    for ((line, list), meant) in lines.iter().zip(&lists).zip(&meant) {
        let refunds = line[0] == "/refunds";
        let cursor = json!({ "began": 1_795_330_800, "from": 1_795_071_600, "refunds": refunds });
        let owner = json!({ "id": list["items"][0]["payment_id"], "status": "succeeded", "created_at": "2026-11-20T20:51:18.139Z",
            "amount": { "value": "1.00", "currency": "RUB" }, "metadata": { "account": meant[0][0] } });
        let answers: &[&Value] = if refunds { &[list, &owner] } else { &[list] };
        let shown = run("yookassa", "poll", cursor.to_string(), setup("invoice", answers)).await;
        if &facts(&shown) != meant || !shown["polled"]["cursor"].to_string().contains("37a5c87d-3984") {
            differences.push(format!("{list}: {:?}, meant is {meant:?}; {}", facts(&shown), shown["result"]));
        }
    }
    report("YooKassa's lists", VERSION, lists.len(), &differences);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_taken_whole_by_the_sdk() {
    let mut dice = Dice::thrown("yookassa, requests");
    let (mut lines, mut made, mut differences) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..60 {
        let page = dice.of(&["invoice", "payment"]);
        let value = format!("{}.{:02}", dice.below(90_000), 1 + dice.below(99));
        let account = dice.of(&["500100200300", "0004217", "Договор-77-в-посёлке-с-очень-длинным-именем"]);
        let data = json!({ "account": account, "number": format!("2026-11-{number:06}"), "issuedOn": "2026-11-20",
            "amount": { "value": value, "currency": "RUB" } });
        let event = json!({ "specversion": "1.0", "id": format!("invoice-{number}"), "source": "/test/billing",
            "type": "invoice.issued.v1", "time": "2026-11-20T09:00:00+03:00", "data": data });
        let shown = run("yookassa", "deliver", event.to_string(), setup(page, &[])).await;
        let call = &shown["calls"][0];
        let path = call["url"].as_str().unwrap().strip_prefix("https://api.yookassa.ru/v3").unwrap().to_string();
        lines.push(json!([path, call["body"]]));
        made.push((page, event));
    }
    let Some(taken) = asked("asked", lines.clone()).await else { return };
    let mut answers = Vec::new();
    for (line, taken) in lines.iter().zip(&taken) {
        if taken != &line[1] {
            differences.push(format!("{line}: the SDK would send {taken}"));
        }
        let body = &taken;
        let mut object = json!({ "id": "2f0e1d6a-000f-5000-8000-18db351245c7", "status": "pending", "created_at": "2026-11-20T07:00:00.500Z",
            "metadata": body["metadata"], "description": body["description"] });
        let added = match line[0].as_str() {
            Some("/payments") => json!({ "amount": body["amount"], "paid": false, "test": false,
                "confirmation": { "type": "redirect", "confirmation_url": "https://pay.example/1" } }),
            _ => json!({ "cart": body["cart"], "expires_at": body["expires_at"],
                "delivery_method": { "type": "self", "url": "https://pay.example/1" } }),
        };
        object.as_object_mut().unwrap().extend(added.as_object().unwrap().clone());
        answers.push(json!([line[0], object]));
    }
    let Some(answers) = asked("answer", answers).await else { return };
    for ((page, event), answer) in made.iter().zip(&answers) {
        let shown = run("yookassa", "deliver", event.to_string(), setup(page, &[answer])).await;
        let link = &shown["messages"][0]["data"];
        let data = &event["data"];
        let found = [&link["account"], &link["invoice"], &link["amount"], &link["url"]];
        if found != [&data["account"], &data["number"], &data["amount"], &json!("https://pay.example/1")] {
            differences.push(format!("{answer}: {shown}"));
        }
    }
    report("YooKassa's requests and their answers", VERSION, lines.len(), &differences);
}
