//! An entry (`Ntry`) of a statement: what is the same for all payments that it books.

use busbar_sdk::xml::{Element, Xml};
use busbar_sdk::{Rejection, rejection};

use crate::amount::Amount;
use crate::charges;
use crate::leaves::{Leaves, Moment, excerpt};
use crate::returns::is_return_code;

/// The head of an entry. Its details (`NtryDtls`) come after it.
#[derive(Default)]
pub struct Entry {
    pub line: u64,
    pub place: String,
    amount: Option<Amount>,
    credit: Option<bool>,
    pub is_reversal: bool,
    status: String,
    pub booked: Option<Moment>,
    pub valued: Option<Moment>,
    /// The bank's reference (`AcctSvcrRef`). Some banks write something else there, so it is no identity by itself.
    pub reference: String,
    pub is_return: bool,
    /// Taken out of its amount, or beside it.
    pub charges: Option<Amount>,
    /// The bank says that it is many payments, whether it lists them or not.
    pub is_batch: bool,
    pub info: String,
}

/// What a complete head says.
pub struct Head {
    pub amount: Amount,
    pub credit: bool,
    pub is_booked: bool,
}

impl Entry {
    pub fn at(line: u64, place: String) -> Self {
        Self { line, place, ..Self::default() }
    }

    /// Takes one of its children, but for `NtryDtls`.
    ///
    /// # Errors
    /// Of [`busbar_sdk::xml`]; `bad-amount`, `bad-date`, `bad-structure` with the place.
    pub fn take<R: FnMut(u32) -> Vec<u8>>(&mut self, child: &Element, xml: &mut Xml<R>) -> Result<(), Rejection> {
        match child.name.as_str() {
            "Amt" => {
                let text = xml.text()?;
                let currency = child.attribute("Ccy").unwrap_or_default();
                let amount = Amount::parse(&text, currency).filter(|amount| amount.units >= 0);
                self.amount = Some(amount.ok_or_else(|| {
                    let reason = format!("`{}` `{}` is no amount with a currency", excerpt(&text), excerpt(currency));
                    rejection("bad-amount", reason, format!("{}/Amt", self.place))
                })?);
            }
            "CdtDbtInd" => {
                self.credit = Some(match xml.text()?.as_str() {
                    "CRDT" => true,
                    "DBIT" => false,
                    other => return Err(self.bad("CdtDbtInd", other, "neither CRDT nor DBIT")),
                });
            }
            "RvslInd" => {
                self.is_reversal = match xml.text()?.as_str() {
                    "true" | "1" => true,
                    "false" | "0" => false,
                    other => return Err(self.bad("RvslInd", other, "neither true nor false")),
                };
            }
            "Sts" => self.status = Leaves::read(xml)?.text(&["", "Cd", "Prtry"]).to_owned(),
            "BookgDt" => self.booked = Leaves::read(xml)?.moment(&["DtTm", "Dt"])?,
            "ValDt" => self.valued = Leaves::read(xml)?.moment(&["DtTm", "Dt"])?,
            "AcctSvcrRef" => self.reference = xml.text()?,
            "BkTxCd" => self.is_return = is_return_code(&Leaves::read(xml)?, ""),
            "Chrgs" => self.charges = charges::of(&Leaves::read(xml)?, "")?,
            "AddtlNtryInf" => self.info = xml.text()?,
            _ => xml.skip()?,
        }
        Ok(())
    }

    /// What must be known before the details.
    ///
    /// # Errors
    /// `missing-field`, `bad-structure` with the place.
    pub fn head(&self) -> Result<Head, Rejection> {
        let missing = |name: &str| {
            rejection("missing-field", format!("the entry has no {name} before its details"), self.place.clone())
        };
        let is_booked = match self.status.as_str() {
            "BOOK" => true,
            "PDNG" | "INFO" | "FUTR" => false,
            "" => return Err(missing("Sts")),
            other => return Err(self.bad("Sts", other, "no known status")),
        };
        Ok(Head {
            amount: self.amount.clone().ok_or_else(|| missing("Amt"))?,
            credit: self.credit.ok_or_else(|| missing("CdtDbtInd"))?,
            is_booked,
        })
    }

    fn bad(&self, name: &str, text: &str, why: &str) -> Rejection {
        rejection("bad-structure", format!("`{}` is {why}", excerpt(text)), format!("{}/{name}", self.place))
    }
}
