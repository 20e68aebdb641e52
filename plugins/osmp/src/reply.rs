//! What a terminal network is told: result codes and XML of both dialects.

use busbar_sdk::{Header, HookResponse};
use quick_xml::escape::escape;

use crate::request::Dialect;

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No answer about the account now; the network asks again.
    Later,
    BadRequest,
    UnknownAction,
    BadTxnId,
    BadAccount,
    UnknownAccount,
    ClosedAccount,
    BadSum,
    BadDate,
    SumTooSmall,
    SumTooLarge,
    /// The id was used for another account or sum.
    Conflict,
    Internal,
}

impl Problem {
    /// The result code. OSMP: 4, 7, 241 and 300 seen in public code and captures, 1 and 242 generally known. Sber: all after
    /// public code that answers it.
    pub fn code(self, dialect: Dialect, unknown_account: Option<u16>) -> u16 {
        use Problem::*;
        match (dialect, self) {
            (_, Later) => 1,
            (Dialect::Osmp, BadAccount) => 4,
            (Dialect::Osmp, UnknownAccount) => unknown_account.unwrap_or(4),
            (Dialect::Osmp, ClosedAccount) => 7,
            (Dialect::Osmp, SumTooSmall) => 241,
            (Dialect::Osmp, SumTooLarge) => 242,
            (Dialect::Osmp, BadRequest | UnknownAction | BadTxnId | BadSum | BadDate | Conflict) => 300,
            (Dialect::Sber, UnknownAction) => 2,
            (Dialect::Sber, UnknownAccount) => unknown_account.unwrap_or(3),
            (Dialect::Sber, BadAccount) => 4,
            (Dialect::Sber, ClosedAccount) => 5,
            (Dialect::Sber, BadTxnId) => 6,
            (Dialect::Sber, Conflict) => 8,
            (Dialect::Sber, BadSum) => 9,
            (Dialect::Sber, SumTooSmall) => 10,
            (Dialect::Sber, SumTooLarge) => 11,
            (Dialect::Sber, BadDate) => 12,
            (Dialect::Sber, BadRequest) => 300,
            (_, Internal) => 300,
        }
    }

    /// For the terminal's screen or the network's support.
    pub fn comment(self) -> &'static str {
        match self {
            Problem::Later => "Временная ошибка, повторите запрос позже",
            Problem::BadRequest => "Неверный запрос",
            Problem::UnknownAction => "Неизвестный тип запроса",
            Problem::BadTxnId => "Неверный номер транзакции",
            Problem::BadAccount => "Неверный формат лицевого счета",
            Problem::UnknownAccount => "Лицевой счет не найден",
            Problem::ClosedAccount => "Лицевой счет закрыт для оплаты",
            Problem::BadSum => "Неверная сумма",
            Problem::BadDate => "Неверная дата",
            Problem::SumTooSmall => "Сумма слишком мала",
            Problem::SumTooLarge => "Сумма слишком велика",
            Problem::Conflict => "Номер транзакции уже использован для другого платежа",
            Problem::Internal => "Внутренняя ошибка",
        }
    }
}

/// A payment that was taken, now or before.
#[derive(Debug, PartialEq, Eq)]
pub struct Paid {
    pub receipt: String,
    /// With two digits after the point.
    pub sum: String,
    /// As Sber writes moments: `ДД.ММ.ГГГГ_чч:мм:сс`.
    pub registered: String,
}

/// What is known of the account that was checked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub name: Option<String>,
    pub address: Option<String>,
    /// What is owed, with two digits after the point; nothing when nothing is.
    pub due: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    Checked(Checked),
    Paid(Paid),
    /// With the payment that has the id already, for [`Problem::Conflict`].
    Refused(Problem, Option<Paid>),
}

impl Reply {
    /// Always status 200: a network takes any other for a broken line and asks again.
    pub fn response(&self, dialect: Dialect, txn_id: Option<&str>, unknown_account: Option<u16>) -> HookResponse {
        let mut xml = Xml::new();
        let (code, comment) = match self {
            Reply::Checked(_) | Reply::Paid(_) => (0, "OK"),
            Reply::Refused(problem, _) => (problem.code(dialect, unknown_account), problem.comment()),
        };
        match dialect {
            Dialect::Osmp => {
                xml.element("osmp_txn_id", txn_id.unwrap_or_default());
                if let Reply::Paid(paid) = self {
                    xml.element("prv_txn", &paid.receipt);
                    xml.element("sum", &paid.sum);
                }
                xml.element("result", &code.to_string());
                xml.element("comment", comment);
            }
            Dialect::Sber => {
                xml.element("CODE", &code.to_string());
                xml.element("MESSAGE", comment);
                self.sber_elements(&mut xml);
            }
        }
        HookResponse {
            status: 200,
            headers: vec![Header { name: "content-type".to_owned(), value: "text/xml; charset=utf-8".to_owned() }],
            body: xml.finish(),
        }
    }

    fn sber_elements(&self, xml: &mut Xml) {
        match self {
            Reply::Checked(checked) => {
                for (name, value) in [("FIO", &checked.name), ("ADDRESS", &checked.address), ("REC_SUM", &checked.due)]
                {
                    if let Some(value) = value {
                        xml.element(name, value);
                    }
                }
            }
            Reply::Paid(paid) => {
                xml.element("REG_DATE", &paid.registered);
                xml.element("SUM", &paid.sum);
                xml.element("EXT_ID", &paid.receipt);
            }
            Reply::Refused(_, Some(earlier)) => {
                xml.element("REG_DATE", &earlier.registered);
                xml.element("AMOUNT", &earlier.sum);
                xml.element("EXT_ID", &earlier.receipt);
            }
            Reply::Refused(_, None) => {}
        }
    }
}

struct Xml(String);

impl Xml {
    fn new() -> Self {
        Self("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<response>\n".to_owned())
    }

    fn element(&mut self, name: &str, value: &str) {
        // Control characters are not allowed in XML 1.0 even escaped.
        let value: String = value.chars().filter(|c| !c.is_control()).collect();
        for part in ["<", name, ">", &escape(value.as_str()), "</", name, ">\n"] {
            self.0.push_str(part);
        }
    }

    fn finish(self) -> Vec<u8> {
        (self.0 + "</response>\n").into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(reply: &Reply, dialect: Dialect) -> String {
        String::from_utf8(reply.response(dialect, Some("1234567"), None).body).unwrap()
    }

    #[test]
    fn text_is_escaped() {
        let checked = Checked { name: Some("<И> & \"К\"\u{1}".into()), ..Checked::default() };
        let xml = text(&Reply::Checked(checked), Dialect::Sber);
        assert!(xml.contains("<FIO>&lt;И&gt; &amp; &quot;К&quot;</FIO>"), "{xml}");
    }

    #[test]
    fn every_problem_has_a_code_above_zero() {
        use Problem::*;
        for problem in [
            Later,
            BadRequest,
            UnknownAction,
            BadTxnId,
            BadAccount,
            UnknownAccount,
            ClosedAccount,
            BadSum,
            BadDate,
            SumTooSmall,
            SumTooLarge,
            Conflict,
            Internal,
        ] {
            for dialect in [Dialect::Osmp, Dialect::Sber] {
                assert!(problem.code(dialect, None) > 0);
                assert!(text(&Reply::Refused(problem, None), dialect).contains(problem.comment()));
            }
        }
        assert_eq!(UnknownAccount.code(Dialect::Osmp, Some(5)), 5);
    }
}
