//! What the measurements feed to adapters: invented customers, about 1 KB a call.

use crate::config::model::{Grants, Instances, Limits};
use crate::egress::{HttpFailure, HttpRequest, HttpResponse};
use crate::wasm::{AskFailure, Caller, Effects, Loaded, Runtime, SystemSpec};
use async_trait::async_trait;
use busbar_core::ports::HookRequest;
use busbar_core::{Call, Message, Problem, Rules};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::io::Read;
use std::sync::Arc;

/// A world that answers at once: every request 201, every question yes.
pub struct Instant;

pub const SECRET: &str = "whsec_c2VjcmV0IG9mIHRoZSBiZW5jaG1hcmsgb2YgYnVzYmFy";
/// 2026-11-22T10:00:00+03:00
pub const NOW_MS: i64 = 1_795_330_800_000;

#[async_trait]
impl Effects for Instant {
    async fn http(&self, _request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let headers = vec![("content-type".into(), "application/json".into())];
        Ok(HttpResponse { status: 201, headers, body: b"{}".to_vec() })
    }

    async fn ahead(&self, _delivery: i64, _call: &Call) -> Result<(), Problem> {
        Ok(())
    }

    async fn ask(&self, question: Message, _deadline_ms: u64) -> Result<Message, AskFailure> {
        Ok(Message { r#type: "account.lookup.answer.v1".into(), data: account_found().into(), ..question })
    }

    async fn lookup(&self, _source: &str, _id: &str) -> Result<Option<Message>, Problem> {
        Ok(None)
    }

    async fn state(&self, _key: &str) -> Result<Option<Vec<u8>>, Problem> {
        Ok(None)
    }

    fn secret(&self, _credential: &str) -> Result<SecretString, String> {
        Ok(SECRET.into())
    }

    fn now_ms(&self) -> i64 {
        NOW_MS
    }

    fn random(&self, bytes: usize) -> Vec<u8> {
        vec![7; bytes]
    }

    fn log(&self, _level: tracing::Level, _text: &str) {}
}

/// A system with every grant in that world.
pub fn caller(
    runtime: &Arc<Runtime>,
    loaded: &Arc<Loaded>,
    rules: &Arc<Rules>,
    adapter: &str,
    instances: Instances,
) -> Caller {
    let all = || vec!["*".to_string()];
    let grants = Grants {
        http: all(),
        credentials: all(),
        emit: all(),
        ask: all(),
        private_addresses: Vec::new(),
        lookup: true,
        state: true,
        clock: true,
        random: true,
    };
    let spec = SystemSpec {
        name: adapter.into(),
        source: format!("/bench/{adapter}"),
        config: config(adapter).to_string(),
        grants,
        limits: Limits::default(),
        instances,
        rules: rules.clone(),
    };
    Caller::new(runtime.clone(), loaded.clone(), Arc::new(spec), Arc::new(Instant))
}

/// Settings of a shipped adapter.
pub fn config(adapter: &str) -> Value {
    match adapter {
        "rest-json" => json!({
            "base-url": "http://127.0.0.1:18081/api",
            "deliver": { "payment.received.v1": {
                "path": "/accounts/{.data.account}/payments",
                "body": "{id: .id, sum: .data.amount.value, paid: .data.paidOn, purpose: .data.purpose}",
            } },
        }),
        "webhook" => json!({ "deliver": { "url": "http://127.0.0.1:18083/hooks", "credential": "signing" } }),
        _ => json!({}),
    }
}

/// A payment whose CloudEvent has about 1 KB.
pub fn payment(id: &str) -> Message {
    let data = json!({
        "account": "500100200300",
        "amount": { "value": "1052.98", "currency": "RUB" },
        "channel": "terminal",
        "paidOn": "2026-11-22",
        "paidAt": "2026-11-22T09:58:33+03:00",
        "purpose": "Pelageya Ozernaya pays for light; ".repeat(20),
    });
    Message {
        id: id.into(),
        source: "/bench/terminals".into(),
        r#type: "payment.received.v1".into(),
        subject: Some("500100200300".into()),
        time: Some("2026-11-22T09:58:33+03:00".into()),
        dataschema: None,
        traceparent: None,
        partitionkey: None,
        correlationid: None,
        causationid: None,
        extensions: Default::default(),
        data: data.into(),
    }
}

/// The answer to every question.
pub fn account_found() -> Value {
    json!({ "account": "500100200300", "found": true })
}

/// A terminal pays, with as many headers as proxies add.
pub fn terminal() -> HookRequest {
    let header = |n: usize| (format!("x-proxy-{n}"), "a value as long as proxies like them".repeat(2));
    HookRequest {
        method: "GET".into(),
        path: "/".into(),
        query: "command=pay&txn_id=1234567&txn_date=20261122095833&account=500100200300&sum=10.45".into(),
        headers: (0..8).map(header).collect(),
        body: Vec::new(),
    }
}

/// A bank statement in the 1CClientBankExchange format (1.03, Windows-1251) with as many documents as asked
/// for, made while it is read.
pub struct Statement {
    documents: u64,
    made: u64,
    chunk: Vec<u8>,
    at: usize,
}

/// A statement with one document, 1.2 kB.
pub fn statement() -> Statement {
    Statement::of_lines(DOCUMENT_LINES + 20)
}

/// Lines of a document.
pub const DOCUMENT_LINES: u64 = 25;
const HEAD_LINES: u64 = 18;

impl Statement {
    pub fn of_lines(lines: u64) -> Self {
        let documents = lines.saturating_sub(HEAD_LINES + 1) / DOCUMENT_LINES;
        let total = documents * 1000;
        let head = format!(
            "1CClientBankExchange\r\nВерсияФормата=1.03\r\nКодировка=Windows\r\nОтправитель=Банк «Заречье»\r\n\
             Получатель=\r\nДатаСоздания=21.11.2026\r\nВремяСоздания=08:00:00\r\nДатаНачала=20.11.2026\r\n\
             ДатаКонца=20.11.2026\r\nРасчСчет=40702810500000000042\r\nСекцияРасчСчет\r\nДатаНачала=20.11.2026\r\n\
             ДатаКонца=20.11.2026\r\nРасчСчет=40702810500000000042\r\nНачальныйОстаток=0.00\r\n\
             ВсегоПоступило={total}.00\r\nВсегоСписано=0.00\r\nКонечныйОстаток={total}.00\r\nКонецРасчСчет\r\n"
        );
        Self { documents, made: 0, chunk: windows_1251(&head), at: 0 }
    }

    pub fn lines(&self) -> u64 {
        HEAD_LINES + 1 + self.documents * DOCUMENT_LINES + 1
    }

    fn document(number: u64) -> String {
        let account = 500_100_000_000 + number;
        format!(
            "СекцияДокумент=Платежное поручение\r\nНомер={number}\r\nДата=19.11.2026\r\nСумма=1000.00\r\n\
             ПлательщикСчет=40817810900000000017\r\nДатаСписано=\r\nПлательщикИНН=\r\n\
             Плательщик1=Озерная Пелагея Саввишна\r\nПлательщикРасчСчет=40817810900000000017\r\n\
             ПлательщикБанк1=Банк «Заречье»\r\nПлательщикБанк2=г. Заречный\r\nПлательщикБИК=044000001\r\n\
             ПлательщикКорсчет=30101810000000000001\r\nПолучательСчет=40702810500000000042\r\n\
             ДатаПоступило=20.11.2026\r\nПолучательИНН=7700000016\r\nПолучатель1=АО «Заречные сети»\r\n\
             ПолучательРасчСчет=40702810500000000042\r\nПолучательБанк1=Банк «Заречье»\r\nПолучательБИК=044000002\r\n\
             ВидПлатежа=Электронно\r\nВидОплаты=01\r\nОчередность=5\r\n\
             НазначениеПлатежа=ЛС: {account} за октябрь 2026\r\nКонецДокумента\r\n"
        )
    }
}

impl Read for Statement {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            if self.at == self.chunk.len() {
                self.made += 1;
                self.chunk = match self.made {
                    n if n <= self.documents => windows_1251(&Self::document(n)),
                    n if n == self.documents + 1 => windows_1251("КонецФайла\r\n"),
                    _ => break,
                };
                self.at = 0;
            }
            let rest = self.chunk.get(self.at..).unwrap_or_default();
            let taken = rest.len().min(buffer.len() - filled);
            if let (Some(to), Some(from)) = (buffer.get_mut(filled..filled + taken), rest.get(..taken)) {
                to.copy_from_slice(from);
            }
            (self.at, filled) = (self.at + taken, filled + taken);
        }
        Ok(filled)
    }
}

// Only what stands in the statement above.
fn windows_1251(text: &str) -> Vec<u8> {
    let byte = |c: char| match u32::from(c) {
        code @ 0x410..=0x44f => u8::try_from(code - 0x410 + 0xc0).unwrap_or(b'?'),
        code @ (0..=0x7f | 0xab | 0xbb) => u8::try_from(code).unwrap_or(b'?'),
        _ => b'?',
    };
    text.chars().map(byte).collect()
}
