//! What a terminal network asks: the parameters of both dialects, checked.

use busbar_sdk::{HookRequest, dates, form, money};
use serde::Deserialize;
use time::PrimitiveDateTime;

use crate::reply::Problem;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    #[default]
    Osmp,
    Sber,
}

impl Dialect {
    fn names(self) -> Names {
        match self {
            Dialect::Osmp => {
                Names { action: "command", txn_id: "txn_id", account: "account", sum: "sum", paid_at: "txn_date" }
            }
            Dialect::Sber => {
                Names { action: "ACTION", txn_id: "PAY_ID", account: "ACCOUNT", sum: "AMOUNT", paid_at: "PAY_DATE" }
            }
        }
    }

    fn pay_word(self) -> &'static str {
        match self {
            Dialect::Osmp => "pay",
            Dialect::Sber => "payment",
        }
    }
}

struct Names {
    action: &'static str,
    txn_id: &'static str,
    account: &'static str,
    sum: &'static str,
    paid_at: &'static str,
}

/// A request that makes sense.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    Check { account: String, sum_minor: Option<i128> },
    Pay(Payment),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Payment {
    /// 1 to 20 digits: the network's own number of the payment, and what makes a repeat a repeat.
    pub txn_id: String,
    pub account: String,
    pub sum_minor: i128,
    /// Local to the network.
    pub paid_at: PrimitiveDateTime,
}

/// The request, and the transaction's id as far as it could be read: a refusal names it too.
pub fn parse(dialect: Dialect, request: &HookRequest) -> (Option<String>, Result<Request, Problem>) {
    let names = dialect.names();
    let parameters = match Parameters::of(request) {
        Ok(parameters) => parameters,
        Err(problem) => return (None, Err(problem)),
    };
    let txn_id = parameters.get(names.txn_id).filter(|id| is_txn_id(id)).map(str::to_owned);
    let result = checked(dialect, &names, &parameters, txn_id.as_deref());
    (txn_id, result)
}

fn checked(dialect: Dialect, names: &Names, parameters: &Parameters, txn_id: Option<&str>) -> Result<Request, Problem> {
    let action = parameters.get(names.action).unwrap_or_default();
    let is_pay = action.eq_ignore_ascii_case(dialect.pay_word());
    if !is_pay && !action.eq_ignore_ascii_case("check") {
        return Err(Problem::UnknownAction);
    }
    // Sber's check carries no id.
    if txn_id.is_none() && (is_pay || dialect == Dialect::Osmp || parameters.get(names.txn_id).is_some()) {
        return Err(Problem::BadTxnId);
    }
    let account = parameters.get(names.account).filter(|account| is_account(account)).ok_or(Problem::BadAccount)?;
    let sum_minor = match parameters.get(names.sum) {
        Some(sum) => Some(parse_sum(sum).ok_or(Problem::BadSum)?),
        None => None,
    };
    if !is_pay {
        return Ok(Request::Check { account: account.to_owned(), sum_minor });
    }
    let paid_at = parameters.get(names.paid_at).unwrap_or_default();
    let paid_at = match dialect {
        Dialect::Osmp => dates::parse_compact_date_time(paid_at),
        Dialect::Sber => dates::parse_russian_date_time(paid_at, '_'),
    };
    Ok(Request::Pay(Payment {
        txn_id: txn_id.ok_or(Problem::BadTxnId)?.to_owned(),
        account: account.to_owned(),
        sum_minor: sum_minor.ok_or(Problem::BadSum)?,
        paid_at: paid_at.ok_or(Problem::BadDate)?,
    }))
}

fn is_txn_id(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

// As account.lookup.v1 has it.
fn is_account(text: &str) -> bool {
    (1..=64).contains(&text.chars().count()) && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

fn parse_sum(text: &str) -> Option<i128> {
    money::parse_minor(text).filter(|minor| *minor > 0 && !text.contains(','))
}

/// The parameters of the query and, for POST, of the form in the body.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn of(request: &HookRequest) -> Result<Self, Problem> {
        form::parameters(request).map(Self).ok_or(Problem::BadRequest)
    }

    /// Nothing for an absent or empty one.
    fn get(&self, name: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(other, _)| other.eq_ignore_ascii_case(name))?;
        Some(pair.1.trim()).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use busbar_sdk::Header;

    pub fn get(query: &str) -> HookRequest {
        HookRequest { method: "GET".into(), path: "/".into(), query: query.into(), headers: vec![], body: vec![] }
    }

    const PAY: &str = "command=pay&txn_id=1234567&txn_date=20090815120133&account=4957835959&sum=10.45";

    #[test]
    fn the_protocols_own_example() {
        let (txn_id, request) = parse(Dialect::Osmp, &get(PAY));
        assert_eq!(txn_id.as_deref(), Some("1234567"));
        let Ok(Request::Pay(payment)) = request else { panic!("{request:?}") };
        assert_eq!((payment.account.as_str(), payment.sum_minor), ("4957835959", 1045));
        let post = HookRequest {
            method: "POST".into(),
            query: String::new(),
            headers: vec![Header { name: "Content-Type".into(), value: "application/x-www-form-urlencoded".into() }],
            body: PAY.into(),
            ..get("")
        };
        assert_eq!(parse(Dialect::Osmp, &post).1, Ok(Request::Pay(payment)));
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        for (from, to, problem) in [
            ("command=pay", "command=void", Problem::UnknownAction),
            ("command=pay&", "", Problem::UnknownAction),
            ("1234567", "12345x", Problem::BadTxnId),
            ("1234567", "123456789012345678901", Problem::BadTxnId),
            ("4957835959", "", Problem::BadAccount),
            ("4957835959", "495%20783", Problem::BadAccount),
            ("10.45", "10.455", Problem::BadSum),
            ("10.45", "10%2C45", Problem::BadSum),
            ("10.45", "0", Problem::BadSum),
            ("10.45", "-1", Problem::BadSum),
            ("&sum=10.45", "", Problem::BadSum),
            ("20090815", "20090230", Problem::BadDate),
            ("sum=10.45", "sum=10.45&sum=11.45", Problem::BadRequest),
            ("sum=10.45", "sum=10.45&SUM=11.45", Problem::BadRequest),
        ] {
            let query = PAY.replace(from, to);
            assert_eq!(parse(Dialect::Osmp, &get(&query)).1, Err(problem), "{query}");
        }
        let put = HookRequest { method: "PUT".into(), ..get(PAY) };
        assert_eq!(parse(Dialect::Osmp, &put).1, Err(Problem::BadRequest));
    }

    #[test]
    fn a_check_of_sber_has_no_id() {
        let (txn_id, request) = parse(Dialect::Sber, &get("ACTION=check&ACCOUNT=0004217"));
        assert_eq!(txn_id, None);
        assert_eq!(request, Ok(Request::Check { account: "0004217".into(), sum_minor: None }));
        let pay = "ACTION=payment&ACCOUNT=0004217&AMOUNT=100&PAY_ID=77&PAY_DATE=05.09.2026_10:11:12";
        assert!(matches!(parse(Dialect::Sber, &get(pay)).1, Ok(Request::Pay(_))));
        let without = pay.replace("&PAY_ID=77", "");
        assert_eq!(parse(Dialect::Sber, &get(&without)).1, Err(Problem::BadTxnId));
    }
}
