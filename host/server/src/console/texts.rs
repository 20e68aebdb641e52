//! Every text of the pages, in each language. What an error means and its remedy are the hub's own words, in English.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_LANGUAGE;
use std::fmt;

/// A language of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    English,
    Russian,
}

impl Language {
    pub const ALL: [Self; 2] = [Self::English, Self::Russian];

    /// As BCP 47 has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Russian => "ru",
        }
    }

    /// In the language itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Russian => "Русский",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.as_str() == text)
    }

    /// The first one that the browser names; weights are left out of it, since browsers name them in that order.
    pub fn wished(headers: &HeaderMap) -> Self {
        let text = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut words = text.split(',').filter_map(|range| range.trim().get(..2));
        words.find_map(|word| Self::parse(&word.to_ascii_lowercase())).unwrap_or(Self::English)
    }

    pub fn texts(self) -> &'static Texts {
        match self {
            Self::English => &ENGLISH,
            Self::Russian => &RUSSIAN,
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! texts {
    ($($name:ident $english:literal $russian:literal;)*) => {
        /// The texts of one language.
        pub struct Texts { $(pub $name: &'static str,)* }
        static ENGLISH: Texts = Texts { $($name: $english,)* };
        static RUSSIAN: Texts = Texts { $($name: $russian,)* };
        #[cfg(test)]
        const PAIRS: &[[&str; 3]] = &[$([stringify!($name), $english, $russian],)*];
    };
}

texts! {
    skip_to_content "Skip to the content" "К содержанию";
    pages "Pages" "Разделы";
    systems "Systems" "Системы";
    messages "Messages" "Сообщения";
    message "Message" "Сообщение";
    failures "Failures" "Сбои";
    inputs "Inputs" "Входы";
    look "Language and colours" "Язык и цвета";
    theme_system "Auto" "Авто";
    theme_light "Light" "Светло";
    theme_dark "Dark" "Темно";
    sign_in "Sign in" "Войти";
    sign_in_title "Sign in to the console" "Вход в консоль";
    sign_in_lead "With an API key of this hub that has the right `read`." "По ключу API этого концентратора с правом `read`.";
    sign_in_refused "Not signed in" "Вход не выполнен";
    sign_out "Sign out" "Выйти";
    signed_in_as "Signed in as" "Вы вошли как";
    key_label "API key" "Ключ API";
    as_of "As of" "По состоянию на";
    times_are "All times are UTC (+00:00)." "Всё время — UTC (+00:00).";
    refresh "Refresh" "Обновить";
    problem "That did not work" "Не получилось";
    remedy "What to do" "Что делать";
    back "Back" "Назад";
    may_not_operate "This key may only look: it lacks the right `operate`." "Этот ключ только для просмотра: у него нет права `operate`.";
    may_not_edit "Editing needs the rights `operate` and `read-personal`: who does not see the data cannot correct them." "Для правки нужны права `operate` и `read-personal`: кто не видит данных, не может их исправить.";
    masked "Personal data is hidden: this key lacks the right `read-personal`." "Личные данные скрыты: у этого ключа нет права `read-personal`.";
    done_retry "Made again:" "Отправлено повторно:";
    done_skip "Skipped:" "Пропущено:";
    done_edit "Corrected and made again:" "Исправлено и отправлено повторно:";
    done_paused "Systems paused:" "Приостановлено систем:";
    done_resumed "Systems resumed:" "Возобновлено систем:";
    done_accepted "Entries accepted:" "Принято записей:";
    done_dismissed "Entries dismissed:" "Отклонено записей:";
    system "System" "Система";
    state "State" "Состояние";
    in_flight "In flight" "В работе";
    deliveries "Deliveries" "Доставки";
    nearby "Connection, files, limits" "Связь, файлы, пределы";
    action "Action" "Действие";
    works "works" "работает";
    paused "paused" "приостановлена";
    down_since "does not answer since" "не отвечает с";
    held_until "asked to wait until" "просила подождать до";
    pause "Pause" "Приостановить";
    resume "Resume" "Возобновить";
    since "since" "с";
    failed_in_a_row "failed in a row:" "неудач подряд:";
    inbox "inbox" "входящая папка";
    outbox "outbox" "исходящая папка";
    files_held "files held up:" "задержано файлов:";
    nearly_reached "limits nearly reached:" "пределы почти достигнуты:";
    name "Name" "Имя";
    show "Show" "Показать";
    reset "Reset" "Сбросить";
    none_found "Nothing was found." "Ничего не найдено.";
    no_failures "Nothing is failing." "Сбоев нет.";
    next_page "Next page" "Дальше";
    first_page "First page" "В начало";
    total "In all:" "Всего:";
    silent "do not answer:" "не отвечают:";
    held_by_people "paused:" "приостановлены:";
    gave_up "deliveries that wait for a person:" "доставки, которые ждут человека:";
    all_flows "Everything flows." "Всё идёт.";
    number "No." "№";
    received "Received" "Получено";
    type_ "Type" "Тип";
    source "Source" "Источник";
    subject "Subject" "Предмет";
    id "Id" "Идентификатор";
    from "From (UTC)" "С (UTC)";
    until "Until (UTC)" "До (UTC)";
    text "Text in the data" "Текст в данных";
    any "any" "любое";
    more "more:" "ещё:";
    place "Place" "Место";
    stated_by "Stated by" "Кем заявлено";
    attributes "Attributes" "Атрибуты";
    data "Data" "Данные";
    event "The event as JSON" "Событие в JSON";
    whole "Everything as JSON" "Всё в JSON";
    is_cut "Cut here; the whole is under “Everything as JSON”." "Здесь сокращено; целиком — «Всё в JSON».";
    came_in_with "The input it came in" "Вход, с которым пришло";
    no_intake "It came as a message of its own." "Пришло отдельным сообщением.";
    no_deliveries "No route leads it anywhere." "Ни один маршрут никуда его не ведёт.";
    key "Key" "Ключ";
    attempts "Attempts" "Попыток";
    attempt "attempt" "попытка";
    next_try "Next try" "Следующая попытка";
    changed "Last change" "Изменена";
    by "By" "Кем";
    edited "Data put in place of the message's" "Данные, поставленные вместо исходных";
    calls "Calls" "Вызовы";
    calls_earlier "Earlier calls left out here:" "Более ранних вызовов здесь опущено:";
    no_calls "No calls." "Вызовов нет.";
    request "Request" "Запрос";
    answer "Answer" "Ответ";
    no_answer "No answer came." "Ответа не было.";
    error "Error" "Ошибка";
    comment "Why (kept with the decision)" "Почему (сохранится вместе с решением)";
    why "Why" "Почему";
    statistics "Statistics" "Статистика";
    deliveries_by_day "Deliveries by day (UTC): done, and failed for good" "Доставки по дням (UTC): выполненные и окончательно неудачные";
    failed "failed" "неудачно";
    day "Day" "День";
    bytes "Bytes" "Байт";
    more_in_csv "There are more rows: all of them are in the CSV." "Строк больше: все они есть в файле CSV.";
    cause "Cause" "Причина";
    by_cause "By cause" "По причинам";
    all_causes "All causes" "Все причины";
    more_causes "Smaller groups that are not shown (filter by system or type):" "Меньшие группы, которые не показаны (отбор по системе или типу):";
    usual_days "The last seven days, unless a time is given; the picture has the last 60 of what is found." "Последние семь дней, если время не задано; на рисунке — последние 60 из найденных.";
    how_many_title "How many" "Сколько";
    decisions "Decisions" "Решения";
    decided_what "What" "Что";
    decided_when "When" "Когда";
    now_is "now:" "сейчас:";
    deed_retry "retried" "повторено";
    deed_edit "corrected" "исправлено";
    deed_skip "skipped" "пропущено";
    deed_accept "entry accepted" "запись принята";
    deed_dismiss "entry dismissed" "запись отклонена";
    deed_pause "system paused" "система приостановлена";
    deed_resume "system resumed" "система возобновлена";
    code "Code" "Код";
    retry "Retry" "Повторить";
    skip "Skip" "Пропустить";
    edit "Edit" "Исправить";
    mark "Mark" "Отметить";
    with_marked "With those marked:" "С отмеченными:";
    with_all "With all that match, on every page:" "Со всеми подходящими, на всех страницах:";
    retry_all "Retry all…" "Повторить все…";
    skip_all "Skip all…" "Пропустить все…";
    since_title "Since" "С какого времени";
    sure_retry "Retry these deliveries?" "Повторить эти доставки?";
    sure_skip "Skip these deliveries?" "Пропустить эти доставки?";
    sure_retry_lead "Each is made again with a new budget of tries." "Каждая будет выполнена снова, с новым запасом попыток.";
    sure_skip_lead "They are never made; that cannot be taken back." "Они никогда не будут выполнены; отменить это нельзя.";
    how_many "How many:" "Сколько:";
    and_more "and more, which stay for the next time" "и ещё другие — они останутся на следующий раз";
    rate "How many a second" "Сколько в секунду";
    cancel "Cancel" "Отмена";
    operated "What became of it" "Что вышло";
    were_refused "Not done, and why" "Не сделано и почему";
    delivery_title "Delivery" "Доставка";
    more_remain "More match: do it again for the next ones." "Подходят и другие: повторите для следующих.";
    edit_title "Correct the data of a delivery" "Исправить данные доставки";
    edit_lead "The delivery is made again with these data. The message stays as it was received." "Доставка будет выполнена снова с этими данными. Само сообщение останется таким, каким пришло.";
    edit_refused "The data were not taken" "Данные не приняты";
    edit_where "Where it is" "Где это";
    save_and_retry "Save and retry" "Сохранить и повторить";
    kind "Kind" "Вид";
    outcome "Outcome" "Исход";
    counts "In it" "Внутри";
    stated "messages" "сообщений";
    repeats "repeats" "повторов";
    differing "differing" "отличаются";
    left_out "left out" "опущено";
    times "times" "раз";
    last_at "last" "последний раз";
    part_of "Part of" "Часть входа";
    states "States" "Содержание";
    accept "Accept" "Принять";
    dismiss "Dismiss" "Отклонить";
    newest_only "The newest ones; filter for others." "Показаны самые новые; для остальных есть отбор.";
    state_ready "ready" "к отправке";
    state_done "done" "доставлена";
    state_parked "parked" "остановлена";
    state_waiting "waiting" "ждёт очереди";
    state_dead "dead" "не доставлена";
    state_skipped "skipped" "пропущена";
    state_failing "failing" "со сбоем";
    outcome_accepted "accepted" "принято";
    outcome_repeated "repeated" "повтор";
    outcome_incomplete "incomplete" "принято не всё";
    outcome_refused "refused" "отказано";
    outcome_left_out "left out" "опущено";
    outcome_differing "differing" "отличается";
    outcome_dismissed "dismissed" "отклонено";
    connection_connecting "connecting" "соединяется";
    connection_listening "listening" "ждёт соединения";
    connection_connected "connected" "соединена";
    connection_ready "ready" "готова";
    connection_failing "failing" "обрывается";
    connection_elsewhere "at another hub" "у другого концентратора";
    kind_file "file" "файл";
    kind_hook "hook" "обратный вызов";
    kind_poll "poll" "опрос";
    kind_rest "REST" "REST";
    kind_amqp "AMQP" "AMQP";
    kind_question "question" "вопрос";
    kind_connection "connection" "соединение";
    kind_delivery "delivery" "доставка";
}

impl Texts {
    /// A state of deliveries, or a group of them.
    pub fn delivery(&self, word: &str) -> &'static str {
        match word {
            "ready" => self.state_ready,
            "done" => self.state_done,
            "parked" => self.state_parked,
            "waiting" => self.state_waiting,
            "dead" => self.state_dead,
            "skipped" => self.state_skipped,
            "failing" => self.state_failing,
            _ => "?",
        }
    }

    /// What a person did.
    pub fn deed(&self, word: &str) -> &'static str {
        match word {
            "retry" => self.deed_retry,
            "edit" => self.deed_edit,
            "skip" => self.deed_skip,
            "accept" => self.deed_accept,
            "dismiss" => self.deed_dismiss,
            "pause" => self.deed_pause,
            "resume" => self.deed_resume,
            _ => "?",
        }
    }

    pub fn outcome(&self, word: &str) -> &'static str {
        match word {
            "accepted" => self.outcome_accepted,
            "repeated" => self.outcome_repeated,
            "incomplete" => self.outcome_incomplete,
            "refused" => self.outcome_refused,
            "left-out" => self.outcome_left_out,
            "differing" => self.outcome_differing,
            "dismissed" => self.outcome_dismissed,
            _ => "?",
        }
    }

    pub fn connection(&self, word: &str) -> &'static str {
        match word {
            "connecting" => self.connection_connecting,
            "listening" => self.connection_listening,
            "connected" => self.connection_connected,
            "ready" => self.connection_ready,
            "failing" => self.connection_failing,
            "elsewhere" => self.connection_elsewhere,
            _ => "?",
        }
    }

    /// A kind of inputs.
    pub fn input(&self, word: &str) -> &'static str {
        match word {
            "file" => self.kind_file,
            "hook" => self.kind_hook,
            "poll" => self.kind_poll,
            "rest" => self.kind_rest,
            "amqp" => self.kind_amqp,
            "question" => self.kind_question,
            "connection" => self.kind_connection,
            "delivery" => self.kind_delivery,
            _ => "?",
        }
    }

    /// What was done just now.
    pub fn done(&self, word: &str) -> Option<&'static str> {
        match word {
            "retry" => Some(self.done_retry),
            "skip" => Some(self.done_skip),
            "edit" => Some(self.done_edit),
            "paused" => Some(self.done_paused),
            "resumed" => Some(self.done_resumed),
            "accepted" => Some(self.done_accepted),
            "dismissed" => Some(self.done_dismissed),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use busbar_core::{Deed, DeliveryState, IntakeKind, IntakeOutcome};

    #[test]
    fn each_text_is_in_its_language() {
        let is_cyrillic = |c: char| ('а'..='я').contains(&c.to_lowercase().next().unwrap_or(c)) || c == 'ё';
        for [name, english, russian] in PAIRS {
            assert!(!english.contains(is_cyrillic) && !english.is_empty(), "{name}: {english}");
            let alike = ["kind_rest", "kind_amqp", "number"].contains(name);
            assert!(alike || russian.contains(is_cyrillic), "{name}: {russian}");
        }
    }

    #[test]
    fn each_word_of_the_journal_has_a_text() {
        let outcomes = [
            IntakeOutcome::Accepted,
            IntakeOutcome::Repeated,
            IntakeOutcome::Incomplete,
            IntakeOutcome::Refused,
            IntakeOutcome::LeftOut,
            IntakeOutcome::Differing,
            IntakeOutcome::Dismissed,
        ];
        use IntakeKind::{Amqp, Connection, Delivery, File, Hook, Poll, Question, Rest};
        for t in [&ENGLISH, &RUSSIAN] {
            assert!(DeliveryState::ALL.into_iter().all(|state| t.delivery(state.as_str()) != "?"));
            assert!(outcomes.into_iter().all(|outcome| t.outcome(outcome.as_str()) != "?"));
            let kinds = [Amqp, Connection, Delivery, File, Hook, Poll, Question, Rest];
            assert!(kinds.into_iter().all(|kind| t.input(kind.as_str()) != "?"));
            assert!(Deed::ALL.into_iter().all(|deed| t.deed(deed.as_str()) != "?"));
        }
    }

    #[test]
    fn a_browsers_first_language_is_taken() {
        let of = |text: &'static str| {
            Language::wished(&[(ACCEPT_LANGUAGE, HeaderValue::from_static(text))].into_iter().collect())
        };
        assert_eq!(of("ru-RU,ru;q=0.9,en;q=0.8"), Language::Russian);
        assert_eq!(of("de, en-GB;q=0.9, ru;q=0.1"), Language::English);
        assert_eq!(of("RU"), Language::Russian);
        assert_eq!((of("de"), of("*")), (Language::English, Language::English));
    }
}
