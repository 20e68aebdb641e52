//! A payment terminal: the calling side of OSMP check/pay over HTTP with basic authentication.

use anyhow::Context;
use roxmltree::Document;

/// Where it calls and as whom.
#[derive(Clone, Debug)]
pub struct Terminal {
    client: reqwest::Client,
    url: String,
    user: String,
    password: String,
}

/// A provider's reply, `<response>` taken apart; absent elements are `None`.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// 0 is success; the other codes are the provider's reasons.
    pub result: Option<i32>,
    /// The terminal's own transaction, repeated.
    pub osmp_txn_id: Option<String>,
    /// The provider's transaction: the same for every repeat of a `txn_id`.
    pub prv_txn: Option<String>,
    pub sum: Option<String>,
    pub comment: Option<String>,
    /// The body as it came.
    pub body: String,
}

impl Terminal {
    /// `url` without a query; `user` and `password` for HTTP basic.
    pub fn new(url: &str, user: &str, password: &str) -> anyhow::Result<Self> {
        Ok(Self {
            client: crate::http_client()?,
            url: url.to_owned(),
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }

    /// Asks whether `account` may be paid for; `sum` is a decimal string.
    pub async fn check(&self, txn_id: &str, account: &str, sum: &str) -> anyhow::Result<Reply> {
        let query = [("command", "check"), ("txn_id", txn_id), ("account", account), ("sum", sum)];
        self.send(&query).await
    }

    /// Reports a payment taken; `txn_date` is `YYYYMMDDhhmmss`.
    pub async fn pay(&self, txn_id: &str, txn_date: &str, account: &str, sum: &str) -> anyhow::Result<Reply> {
        let query =
            [("command", "pay"), ("txn_id", txn_id), ("txn_date", txn_date), ("account", account), ("sum", sum)];
        self.send(&query).await
    }

    async fn send(&self, query: &[(&str, &str)]) -> anyhow::Result<Reply> {
        // Every value is digits or a decimal: nothing to escape.
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let url = format!("{}?{}", self.url, query.join("&"));
        let request = self.client.get(url).basic_auth(&self.user, Some(&self.password));
        let response = request.send().await.context("the terminal got no answer")?;
        let status = response.status().as_u16();
        Ok(parse(status, response.text().await?))
    }
}

fn parse(status: u16, body: String) -> Reply {
    let document = Document::parse(body.trim_start_matches('\u{feff}')).ok();
    let element = |name: &str| {
        let root = document.as_ref()?.root_element();
        let element = root.children().find(|child| child.has_tag_name(name))?;
        Some(element.text().unwrap_or_default().trim().to_owned())
    };
    Reply {
        status,
        result: element("result").and_then(|text| text.parse().ok()),
        osmp_txn_id: element("osmp_txn_id"),
        prv_txn: element("prv_txn"),
        sum: element("sum"),
        comment: element("comment"),
        body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_reply_apart() {
        let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<response>\n<osmp_txn_id>71</osmp_txn_id>\
            <prv_txn>2016</prv_txn><sum>10.45</sum><result> 0 </result><comment/></response>";
        let reply = parse(200, body.to_owned());
        assert_eq!((reply.result, reply.prv_txn.as_deref()), (Some(0), Some("2016")));
        assert_eq!((reply.sum.as_deref(), reply.comment.as_deref()), (Some("10.45"), Some("")));
        let reply = parse(502, "Bad gateway".to_owned());
        assert_eq!((reply.status, reply.result, reply.prv_txn), (502, None, None));
    }
}
