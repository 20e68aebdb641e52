//! 1CClientBankExchange by two libraries of PyPI: one writes statements that are read as they were meant, and both read the orders
//! that the adapter writes.

use super::{Dice, Judge, of_type, report, run};
use serde_json::{Value, json};

const WRITER: &str = "PyPI client-bank-exchange-1c 0.1.8";
const READERS: [(&str, &str); 2] = [("client-bank-exchange-1c", WRITER), ("client-bank-1c", "PyPI client-bank-1c 0.3")];
const OWN: &str = "40702810500000000042";

fn hundredths(amount: u64) -> String {
    format!("{}.{:02}", amount / 100, amount % 100)
}

/// A statement with its turnovers, and what its credits are to become: account, sum, day, number, payer.
fn statement(dice: &mut Dice, number: u64) -> (Value, Vec<Value>) {
    let own = json!({ "account": OWN, "inn": "7700000016", "bic": "044000002", "name": "АО «Заречные сети»" });
    let (mut income, mut expense, mut documents, mut meant) = (0, 0, Vec::new(), Vec::new());
    for document in 0..1 + dice.below(6) {
        let name = dice.of(&["Ким Олег", "ООО \"Свет = жизнь\"", "Ёлкина А.А.; ИП", "Сумма Иван"]);
        let other = json!({ "account": format!("408178109000000{:05}", dice.below(100_000)), "inn": "770000000123", "bic": "044000001", "name": name });
        let (amount, day) = (1 + dice.below(9_000_000), 18 + dice.below(3));
        let (customer, id) = (format!("5001{:08}", dice.below(100_000_000)), format!("{number}{document}"));
        let purpose = dice.of(&["ЛС: {}", "Оплата л/с {} за октябрь; Сумма=5 НДС не облагается", "ЛС №{}, «Дом» № 7"]);
        let purpose = purpose.replace("{}", &customer);
        // Credited, debited, or an own order that the bank has not executed.
        let (payer, receiver, charged, arrived) = match dice.below(5) {
            0 => (&own, &other, Some("2026-11-20"), None),
            1 => (&own, &other, None, None),
            _ => (&other, &own, dice.of(&[None, Some("2026-11-20")]), Some("2026-11-20")),
        };
        match (arrived, charged) {
            (Some(_), _) => {
                income += amount;
                let issued = format!("2026-11-{day}");
                meant.push(json!([
                    customer,
                    hundredths(amount),
                    "2026-11-20",
                    id,
                    issued,
                    name,
                    other["account"],
                    purpose
                ]));
            }
            (None, Some(_)) => expense += amount,
            (None, None) => {}
        }
        documents.push(json!({ "number": id, "date": format!("2026-11-{day}"), "amount": hundredths(amount), "charged": charged,
            "arrived": arrived, "payer": payer, "receiver": receiver, "code": dice.of(&[Some("0"), None]), "purpose": purpose }));
    }
    let opening = 900_000_000 + dice.below(1_000_000);
    let stated = json!({ "account": OWN, "start": "2026-11-20", "end": "2026-11-20", "documents": documents,
        "initial_balance": hundredths(opening), "total_income": hundredths(income), "total_expense": hundredths(expense),
        "final_balance": hundredths(opening + income - expense) });
    (stated, meant)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_of_a_library_are_read_as_they_were_meant() {
    let mut dice = Dice::thrown("1CClientBankExchange, read");
    let statements: Vec<_> = (0..150).map(|number| statement(&mut dice, 100 + number)).collect();
    let lines = statements.iter().map(|(stated, _)| stated.clone()).collect();
    let Some(files) = Judge::Python.ask(&["lines", "bank", "statement"], lines).await else { return };
    let mut differences = Vec::new();
    for ((stated, meant), file) in statements.iter().zip(&files) {
        // The library gives a text; the bank's encoding is told in it, and any is taken.
        let shown = run("client-bank-exchange", "decode", file.as_str().unwrap(), json!({})).await;
        let fact = |data: &Value| {
            let (document, payer) = (&data["document"], &data["payer"]);
            json!([
                data["account"],
                data["amount"]["value"],
                data["paidOn"],
                document["number"],
                document["date"],
                payer["name"],
                payer["account"],
                data["purpose"]
            ])
        };
        let found: Vec<Value> = of_type(&shown, "payment.received.v1").map(|message| fact(&message["data"])).collect();
        let told = of_type(&shown, "statement.imported.v1").map(|message| &message["data"]);
        let told: Vec<_> = told
            .map(|data| ["openingBalance", "received", "spent", "closingBalance"].map(|n| &data[n]["value"]))
            .collect();
        let balances = ["initial_balance", "total_income", "total_expense", "final_balance"].map(|name| &stated[name]);
        if &found != meant || told != [balances] {
            differences.push(format!("{found:?}, meant is {meant:?}: {}\n{}", shown["result"], file.as_str().unwrap()));
        }
    }
    differences.truncate(3);
    report("1CClientBankExchange, statements", WRITER, statements.len(), &differences);
}

/// An order, and what is to be read in it.
fn order(dice: &mut Dice, number: u64) -> (Value, Value) {
    let value = format!("{}.{:02}", dice.below(1_000_000), 1 + dice.below(99));
    let purpose = dice.of(&["Оплата по счёту № 7 & прочее", "НДС = 20 %\nза октябрь", "  Пошлина  "]);
    let party = |dice: &mut Dice, name: &str, account: &str| {
        let mut party = json!({ "name": name, "account": account, "bic": "044000002" });
        for (field, value) in [
            ("taxId", "5000000025"),
            ("taxRegistrationCode", "500001001"),
            ("correspondentAccount", "30101810000000000002"),
        ] {
            if !dice.one_in(4) {
                party[field] = value.into();
            }
        }
        party
    };
    let name = dice.of(&["ООО «Провода & Ко»", "ИП Сидоров <опт>", "АО \"Дата=Сеть\""]);
    let (payer, payee) = (party(dice, "АО «Заречная сеть»", OWN), party(dice, name, "40702810300000000051"));
    let mut data = json!({ "number": number.to_string(), "issuedOn": "2026-11-20", "payer": payer, "payee": payee, "purpose": purpose,
        "amount": { "value": value, "currency": "RUB" } });
    for (field, value) in [("priority", "5"), ("paymentCode", "12345678901234567890")] {
        if dice.one_in(2) {
            data[field] = value.into();
        }
    }
    let purpose = purpose.split_whitespace().collect::<Vec<_>>().join(" ");
    let side = |party: &Value| [&party["account"], &party["taxId"], &party["name"], &party["bic"]].map(Value::clone);
    let mut meant = vec![json!(number.to_string()), json!("2026-11-20"), json!(value)];
    meant.extend(side(&payer).into_iter().chain(side(&payee)));
    meant.extend(
        [&payee["correspondentAccount"], &payer["taxRegistrationCode"], &payee["taxRegistrationCode"]]
            .map(Value::clone),
    );
    meant.extend([data["priority"].clone(), data["paymentCode"].clone(), json!(purpose)]);
    let event = json!({ "id": format!("order-{number}"), "type": "payment.order.issued.v1", "source": "/test/accounting", "data": data });
    (event, meant.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_read_by_two_libraries_as_they_were_meant() {
    let mut dice = Dice::thrown("1CClientBankExchange, written");
    let (mut files, mut meant) = (Vec::new(), Vec::new());
    for file in 0..100 {
        let orders: Vec<_> = (0..1 + dice.below(5)).map(|n| order(&mut dice, file * 10 + n)).collect();
        let events: Vec<&Value> = orders.iter().map(|(event, _)| event).collect();
        let shown = run("client-bank-exchange", "encode", json!(events).to_string(), json!({})).await;
        assert_eq!(shown["result"], "ok", "{shown}");
        files.push(shown["file"]["content"].clone());
        meant.push(orders.into_iter().map(|(_, meant)| meant).collect::<Value>());
    }
    let Some(found) = Judge::Python.ask(&["lines", "bank", "orders"], files.clone()).await else { return };
    for (name, judge) in READERS {
        let pairs = found.iter().zip(&meant).filter(|(found, meant)| &found[name] != *meant);
        let mut differences: Vec<String> =
            pairs.map(|(found, meant)| format!("{}, meant is {meant}", found[name])).collect();
        differences.truncate(3);
        report("1CClientBankExchange, orders written", judge, files.len(), &differences);
    }
    assert!(found.iter().all(|found| found["accounts"] == json!([OWN])));
}
