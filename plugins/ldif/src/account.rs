//! What an entry says of its account: one table of the signs that directories have for it.
//!
//! A lock after wrong passwords is no dismissal and ends by itself, at a time that stands in a policy and not in the
//! entry: with one nobody can tell whether the account works, and that is what is said.

use crate::fields::moment_ms;
use crate::ldif::Value;

/// What is known of an account, the strongest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// Nothing speaks against it: the end of its time is not reached, a lock has run out.
    Unlimited,
    Works,
    /// The sign's value is not understood, or a lock may or may not stand any more.
    Unclear,
    Off,
    /// Removed; the entry is kept for its name alone.
    Gone,
    /// No person's account: a machine's, a trust between domains, the tombstone of a deleted entry.
    Nobody,
}

/// How the values of a sign are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// Bits of the account, as a number.
    Bits,
    /// Of the bits that the server computes the lock alone.
    ComputedBits,
    OffWhenTrue,
    OnWhenTrue,
    UnclearWhenTrue,
    NobodyWhenTrue,
    /// Any value at all.
    Nobody,
    /// The moment of a lock; year 0 is a lock by a person.
    LockedAt,
    /// 100 ns since 1601; it stays after the lock until the next logon.
    LockedAtTicks,
    UnlockedAt,
    StartsAt,
    /// Generalized time.
    EndsAt,
    /// 100 ns since 1601.
    EndsAtTicks,
    /// Days since 1970.
    EndsOnDay,
    /// Letters in brackets.
    Letters,
    UserStatus,
    EnabledWord,
    /// Name of a role.
    Role,
}

/// The signs, each with its source.
const SIGNS: [(&str, Sign); 28] = [
    // [MS-ADTS] 2.2.16 userAccountControl bits, 3.1.1.4.5.17 the computed ones; [MS-ADA1] accountExpires;
    // [MS-ADA3] msDS-UserAccountDisabled (AD LDS); 3.1.1.5.5 deleted objects. Samba and РЕД АДМ are the same.
    ("useraccountcontrol", Sign::Bits),
    (COMPUTED, Sign::ComputedBits),
    ("msds-useraccountdisabled", Sign::OffWhenTrue),
    ("accountexpires", Sign::EndsAtTicks),
    (LOCKOUT_TIME, Sign::LockedAtTicks),
    ("isdeleted", Sign::NobodyWhenTrue),
    // 389 Directory Server's administration guide, "Manually inactivating users and roles"; the same in FreeIPA,
    // ALD Pro and Oracle Directory Server. Entries that two servers added at once: "Solving naming conflicts".
    ("nsaccountlock", Sign::OffWhenTrue),
    ("nsrole", Sign::Role),
    ("nsroledn", Sign::Role),
    ("accountunlocktime", Sign::UnlockedAt),
    ("nsds5replconflict", Sign::Nobody),
    // draft-behera-ldap-password-policy-10, 5.3.3, 5.3.8, 5.3.9: OpenLDAP, Apache Directory; slapo-ppolicy(5).
    ("pwdaccountlockedtime", Sign::LockedAt),
    ("pwdaccounttmplockoutend", Sign::UnlockedAt),
    ("pwdstarttime", Sign::StartsAt),
    ("pwdendtime", Sign::EndsAt),
    // Novell eDirectory, schema reference: Login Disabled, Locked By Intruder, Login Expiration Time.
    ("logindisabled", Sign::OffWhenTrue),
    ("lockedbyintruder", Sign::UnclearWhenTrue),
    ("loginexpirationtime", Sign::EndsAt),
    // MIT Kerberos' schema for LDAP, as FreeIPA and ALD Pro use it.
    ("krbprincipalexpiration", Sign::EndsAt),
    // PingDirectory, OpenDJ: the password policy's operational attributes.
    ("ds-pwp-account-disabled", Sign::OffWhenTrue),
    ("ds-pwp-account-activation-time", Sign::StartsAt),
    ("ds-pwp-account-expiration-time", Sign::EndsAt),
    // Oracle Internet Directory and Oracle Directory Server; IBM Security Directory Server.
    ("orclisenabled", Sign::EnabledWord),
    ("inetuserstatus", Sign::UserStatus),
    ("ibm-pwdaccountlocked", Sign::OffWhenTrue),
    ("ibm-pwdaccountenabled", Sign::OnWhenTrue),
    // smb.conf of a Samba 3 domain in LDAP (samba.schema); shadow(5) and RFC 2307.
    ("sambaacctflags", Sign::Letters),
    ("shadowexpire", Sign::EndsOnDay),
];

/// The names of the signs, in lower case.
pub fn signs() -> impl Iterator<Item = &'static str> {
    SIGNS.iter().map(|(name, _)| *name)
}

/// What the values say, the strongest sign first; nothing where none is among them. `now_ms` is asked only where a
/// time decides.
pub fn of(values: &[Value], now_ms: &mut dyn FnMut() -> u64) -> Option<Account> {
    readings(values, now_ms).map(|(_, account)| account).max()
}

/// Signs that speak against the account, now or at a time to come, each as its bit.
pub fn against(values: &[Value], now_ms: &mut dyn FnMut() -> u64) -> u32 {
    let speaks = |name: &str, account: Account| {
        account >= Account::Unclear
            || matches!(sign(name), Some(Sign::EndsAt | Sign::EndsAtTicks | Sign::EndsOnDay)) && !is_never(name, values)
    };
    let bits = readings(values, now_ms).filter(|(name, account)| speaks(name, *account)).map(|(name, _)| bit(name));
    let bits = bits.fold(0, |bits, bit| bits | bit);
    if is_cut_short(values) { bits | CUT_SHORT } else { bits }
}

/// The bit of a sign; that of no sign means that the export left the signs out.
pub const CUT_SHORT: u32 = 1 << 31;

pub fn bit(attribute: &str) -> u32 {
    let base = attribute.split(';').next().unwrap_or(attribute);
    SIGNS.iter().position(|(name, _)| *name == base).map_or(0, |at| 1 << at)
}

/// What is settled by another sign: an entry that has its account's bits was not cut short.
pub fn settled_by(attribute: &str) -> u32 {
    if attribute == "useraccountcontrol" || attribute == "msds-useraccountdisabled" { CUT_SHORT } else { 0 }
}

/// What each value says. A lock that Active Directory was asked for, and computed, is not guessed from when it was.
fn readings<'a>(values: &'a [Value], now_ms: &'a mut dyn FnMut() -> u64) -> impl Iterator<Item = (&'a str, Account)> {
    let is_computed = values.iter().any(|value| value.attribute == COMPUTED);
    let values = values.iter().filter(|value| !value.bytes.is_empty());
    let values = values.filter(move |value| !(is_computed && value.attribute == LOCKOUT_TIME));
    values.filter_map(|value| {
        Some((value.attribute.as_str(), read(sign(&value.attribute)?, value.text().trim(), now_ms)))
    })
}

/// Whether an end is set that never comes.
fn is_never(attribute: &str, values: &[Value]) -> bool {
    let text = values.iter().find(|value| value.attribute == attribute).map(Value::text).unwrap_or_default();
    text == "0" || text.starts_with('-') || text == i64::MAX.to_string()
}

const COMPUTED: &str = "msds-user-account-control-computed";
const LOCKOUT_TIME: &str = "lockouttime";

/// Whether an attribute, with or without options, is one of the signs.
pub fn is_sign(attribute: &str) -> bool {
    sign(attribute).is_some()
}

/// Whether an entry that is an account of Active Directory lacks what each of them has: then the export left it out.
pub fn is_cut_short(values: &[Value]) -> bool {
    let has = |name: &str| values.iter().any(|value| value.attribute == name);
    (has("samaccountname") || has("objectguid") || has("objectsid"))
        && !has("useraccountcontrol")
        && !has("msds-useraccountdisabled")
}

fn sign(attribute: &str) -> Option<Sign> {
    let base = attribute.split(';').next().unwrap_or(attribute);
    SIGNS.iter().find(|(name, _)| *name == base).map(|(_, sign)| *sign)
}

fn read(sign: Sign, text: &str, now_ms: &mut dyn FnMut() -> u64) -> Account {
    let truth = |on: Account, off: Account| match text.to_ascii_lowercase().as_str() {
        "true" => on,
        "false" => off,
        _ => Account::Unclear,
    };
    match sign {
        Sign::Bits => bits(text),
        Sign::ComputedBits => match number(text) {
            Some(flags) if flags & LOCKOUT == 0 => Account::Unlimited,
            _ => Account::Unclear,
        },
        Sign::OffWhenTrue => truth(Account::Off, Account::Works),
        Sign::OnWhenTrue => truth(Account::Works, Account::Off),
        Sign::UnclearWhenTrue => truth(Account::Unclear, Account::Unlimited),
        Sign::NobodyWhenTrue => truth(Account::Nobody, Account::Unlimited),
        Sign::Nobody => Account::Nobody,
        Sign::LockedAt if text.starts_with("0000") => Account::Off,
        Sign::LockedAt => Account::Unclear,
        Sign::LockedAtTicks => match text {
            "0" => Account::Unlimited,
            _ => Account::Unclear,
        },
        Sign::StartsAt => match moment_ms(text) {
            Some(at) if at <= now(now_ms) => Account::Unlimited,
            Some(_) => Account::Off,
            None => Account::Unclear,
        },
        Sign::UnlockedAt => match moment_ms(text) {
            Some(at) if at != 0 && at <= now(now_ms) => Account::Unlimited,
            _ => Account::Unclear,
        },
        Sign::EndsAt => ends(moment_ms(text), now_ms),
        Sign::EndsAtTicks => match text.parse::<i64>() {
            Ok(0 | i64::MAX) => Account::Unlimited,
            Ok(ticks) => ends(Some(ticks / 10_000 - TICKS_EPOCH_MS), now_ms),
            Err(_) => Account::Unclear,
        },
        Sign::EndsOnDay => match text.parse::<i64>() {
            Ok(day) if day < 0 => Account::Unlimited,
            // shadow(5): zero is read as no end by some and as an end in 1970 by others.
            Ok(0) | Err(_) => Account::Unclear,
            Ok(day) => ends(day.checked_mul(86_400_000), now_ms),
        },
        Sign::Letters => letters(text),
        Sign::UserStatus => match text.to_ascii_lowercase().as_str() {
            "active" => Account::Works,
            "inactive" => Account::Off,
            "deleted" | "removed" => Account::Gone,
            _ => Account::Unclear,
        },
        Sign::EnabledWord => match text.to_ascii_lowercase().as_str() {
            "enabled" => Account::Works,
            "disabled" => Account::Off,
            _ => Account::Unclear,
        },
        Sign::Role => match crate::dn::first_value(text).unwrap_or_default().to_ascii_lowercase().as_str() {
            "nsdisabledrole" | "nsmanageddisabledrole" => Account::Off,
            _ => Account::Unlimited,
        },
    }
}

/// Milliseconds from 1601 to 1970.
const TICKS_EPOCH_MS: i64 = 11_644_473_600_000;
const ACCOUNT_DISABLE: i64 = 0x2;
const LOCKOUT: i64 = 0x10;
/// Trusts between domains, workstations, domain controllers.
const NO_PERSON: i64 = 0x0800 | 0x1000 | 0x2000;

fn bits(text: &str) -> Account {
    match number(text) {
        None => Account::Unclear,
        Some(flags) if flags & NO_PERSON != 0 => Account::Nobody,
        Some(flags) if flags & ACCOUNT_DISABLE != 0 => Account::Off,
        Some(flags) if flags & LOCKOUT != 0 => Account::Unclear,
        Some(_) => Account::Works,
    }
}

fn number(text: &str) -> Option<i64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// `[UD         ]`: letters that say nothing of whether it works are passed over, others are not known.
fn letters(text: &str) -> Account {
    let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else { return Account::Unclear };
    let letter = |letter: char| match letter {
        'D' => Account::Off,
        'W' | 'S' | 'I' => Account::Nobody,
        'U' => Account::Works,
        'N' | 'H' | 'T' | 'M' | 'X' | ' ' => Account::Unlimited,
        _ => Account::Unclear,
    };
    inner.chars().map(letter).max().unwrap_or(Account::Unclear)
}

fn ends(at_ms: Option<i64>, now_ms: &mut dyn FnMut() -> u64) -> Account {
    match at_ms {
        None => Account::Unclear,
        Some(at) if at <= now(now_ms) => Account::Off,
        Some(_) => Account::Unlimited,
    }
}

fn now(now_ms: &mut dyn FnMut() -> u64) -> i64 {
    i64::try_from(now_ms()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(attribute: &str, text: &str) -> Option<Account> {
        // 2026-11-22T07:00:00Z
        of(&[Value { line: 1, attribute: attribute.into(), bytes: text.into() }], &mut || 1_795_330_800_000)
    }

    #[test]
    fn each_moment_of_the_table() {
        use Account::*;
        for (attribute, text, expected) in [
            ("accountExpires", "0", Unlimited),
            ("accountExpires", "9223372036854775807", Unlimited),
            // 2026-11-22T06:59:59Z and 07:00:01Z
            ("accountExpires", "134398043990000000", Off),
            ("accountExpires", "134398044010000000", Unlimited),
            ("accountExpires", "never", Unclear),
            ("lockoutTime", "0", Unlimited),
            ("lockoutTime", "134404163265609610", Unclear),
            ("accountUnlockTime", "19700101000000Z", Unclear),
            ("accountUnlockTime", "20261122065959Z", Unlimited),
            ("accountUnlockTime", "20261122070001Z", Unclear),
            ("pwdAccountLockedTime", "000001010000Z", Off),
            ("pwdAccountLockedTime", "20261122065959Z", Unclear),
            ("pwdAccountTmpLockoutEnd", "20261122065959Z", Unlimited),
            ("pwdAccountTmpLockoutEnd", "20261122070001Z", Unclear),
            ("pwdStartTime", "20261122065959Z", Unlimited),
            ("pwdStartTime", "20261122070001Z", Off),
            ("pwdStartTime", "soon", Unclear),
            ("ds-pwp-account-activation-time", "20991122070001.000Z", Off),
            ("pwdEndTime", "20261122065959Z", Off),
            ("pwdEndTime", "20261222065959Z", Unlimited),
            ("pwdEndTime", "soon", Unclear),
            ("loginExpirationTime", "20201122065959Z", Off),
            ("krbPrincipalExpiration", "20201122065959Z", Off),
            ("ds-pwp-account-expiration-time", "20201122065959.000Z", Off),
            ("shadowExpire", "-1", Unlimited),
            ("shadowExpire", "0", Unclear),
            ("shadowExpire", "1", Off),
            ("shadowExpire", "40000", Unlimited),
        ] {
            assert_eq!(said(&attribute.to_ascii_lowercase(), text), Some(expected), "{attribute}: {text}");
        }
    }

    #[test]
    fn each_other_sign_of_the_table() {
        use Account::*;
        for (attribute, text, expected) in [
            ("userAccountControl", "512", Works),
            ("userAccountControl", "514", Off),
            ("userAccountControl", "66050", Off),
            ("userAccountControl", "0x202", Off),
            ("userAccountControl", "528", Unclear),
            ("userAccountControl", "4096", Nobody),
            ("userAccountControl", "2080", Nobody),
            ("userAccountControl", "NORMAL_ACCOUNT", Unclear),
            ("msDS-User-Account-Control-Computed", "16", Unclear),
            ("msDS-User-Account-Control-Computed", "0", Unlimited),
            ("msDS-UserAccountDisabled", "TRUE", Off),
            ("isDeleted", "TRUE", Nobody),
            ("nsAccountLock", "TRUE", Off),
            ("nsAccountLock", "false", Works),
            ("nsAccountLock", "1", Unclear),
            ("nsRole", "cn=nsManagedDisabledRole,dc=example", Off),
            ("nsRoleDN", "cn=engineers,dc=example", Unlimited),
            ("nsds5ReplConflict", "namingConflict uid=a,dc=example", Nobody),
            ("loginDisabled", "TRUE", Off),
            ("lockedByIntruder", "TRUE", Unclear),
            ("lockedByIntruder", "FALSE", Unlimited),
            ("ds-pwp-account-disabled", "true", Off),
            ("orclIsEnabled", "DISABLED", Off),
            ("orclIsEnabled", "ENABLED", Works),
            ("orclIsEnabled", "2", Unclear),
            ("inetUserStatus", "inactive", Off),
            ("inetUserStatus", "deleted", Gone),
            ("inetUserStatus", "hold", Unclear),
            ("ibm-pwdAccountLocked", "TRUE", Off),
            ("ibm-pwdAccountEnabled", "FALSE", Off),
            ("sambaAcctFlags", "[U          ]", Works),
            ("sambaAcctFlags", "[UD         ]", Off),
            ("sambaAcctFlags", "[UL         ]", Unclear),
            ("sambaAcctFlags", "[UQ         ]", Unclear),
            ("sambaAcctFlags", "[W          ]", Nobody),
            ("sambaAcctFlags", "U", Unclear),
        ] {
            assert_eq!(said(&attribute.to_ascii_lowercase(), text), Some(expected), "{attribute}: {text}");
        }
        assert_eq!(said("cn", "TRUE"), None);
        assert_eq!(said("nsaccountlock;x-test", "TRUE"), Some(Off));
        assert_eq!(said("nsaccountlock", ""), None);
    }

    #[test]
    fn the_strongest_sign_counts() {
        let value = |name: &str, text: &str| Value { line: 1, attribute: name.into(), bytes: text.into() };
        let both = [value("useraccountcontrol", "512"), value("accountexpires", "1")];
        assert_eq!(of(&both, &mut || 1_795_330_800_000), Some(Account::Off));
        let computed = [value("msds-user-account-control-computed", "0"), value("lockouttime", "134404163265609610")];
        assert_eq!(of(&computed, &mut || 0), Some(Account::Unlimited));
        assert!(is_cut_short(&[value("samaccountname", "a")]) && !is_cut_short(&[value("uid", "a")]));
    }
}
