//! The clauses of RFC 9111 and RFC 5861, a row for each.

use super::*;
use base::Instant;

/// Sun, 06 Nov 1994 08:49:37 GMT.
const NOW_S: u64 = 784_111_777;

fn fields(text: &str) -> impl Iterator<Item = (&str, &[u8])> {
    text.split('|').filter(|field| !field.is_empty()).map(|field| {
        let (name, value) = field.split_once(": ").expect("a name and a value");
        (name, value.as_bytes())
    })
}

fn arrival(delay_ms: u64) -> Arrival {
    Arrival { at: Instant(1_000_000_000_000), wall_s: NOW_S, delay_ms }
}

fn stored(request: &str, status: u16, response: &str) -> Result<Freshness, Unstored> {
    let (request, response) = (Request::read(fields(request)), Response::read(status, fields(response)));
    store(&request, &response, &Rules::default(), arrival(0))
}

fn after(seconds: u64) -> Instant {
    arrival(0).at.plus_ms(seconds * 1000)
}

#[test]
fn what_may_be_stored() {
    use Unstored::{Authorized, Forbidden, Private, SetCookie, Status, Useless, Varies};
    let rows: &[(&str, &str, u16, &str, Option<Unstored>)] = &[
        ("3: fresh by its own word", "", 200, "cache-control: max-age=60", None),
        ("3: by Expires", "", 200, "expires: Mon, 07 Nov 1994 08:49:37 GMT", None),
        ("3: an error that may be", "", 404, "cache-control: max-age=60", None),
        ("3: a redirect for a time, if it says so", "", 302, "cache-control: max-age=60", None),
        ("3: a redirect for a time that doesn't", "", 302, "last-modified: Thu, 27 Oct 1994 08:49:37 GMT", None),
        ("3: an error of the server", "", 503, "cache-control: max-age=60", Some(Status)),
        ("3: an error that the request's headers may have made", "", 400, "cache-control: max-age=60", Some(Status)),
        ("3: nothing that says how long", "", 200, "x: y", Some(Useless)),
        ("3: stale, but it can be validated", "", 200, "cache-control: max-age=0|etag: \"a\"", None),
        ("3.3: a part", "", 206, "cache-control: max-age=60|content-range: bytes 0-1/3", Some(Status)),
        (
            "3.3: what says that it is a part",
            "",
            200,
            "cache-control: max-age=60|content-range: bytes 0-1/3",
            Some(Status),
        ),
        ("3.5: an answer to credentials", "authorization: x", 200, "cache-control: max-age=60", Some(Authorized)),
        ("3.5: .. that is public", "authorization: x", 200, "cache-control: public, max-age=60", None),
        (
            "3.5: .. that must be revalidated",
            "authorization: x",
            200,
            "cache-control: must-revalidate, max-age=60",
            None,
        ),
        ("3.5: .. for shared caches", "authorization: x", 200, "cache-control: s-maxage=60", None),
        ("4.1: it goes by what can't be told", "", 200, "cache-control: max-age=60|vary: accept, *", Some(Varies)),
        (
            "4.1: it goes by the client's address",
            "",
            200,
            "cache-control: max-age=60|vary: x-forwarded-for",
            Some(Varies),
        ),
        ("5.2.1.5: the request says no", "cache-control: no-store", 200, "cache-control: max-age=60", Some(Forbidden)),
        ("5.2.2.5: the response says no", "", 200, "cache-control: max-age=60, no-store", Some(Forbidden)),
        (
            "5.2.2.3: understood in spite of no-store",
            "",
            200,
            "cache-control: max-age=60, no-store, must-understand",
            None,
        ),
        (
            "5.2.2.4: never used unvalidated, and can't be validated",
            "",
            200,
            "cache-control: no-cache, max-age=60",
            Some(Useless),
        ),
        ("5.2.2.4: .. and can", "", 200, "cache-control: no-cache|etag: \"a\"", None),
        ("5.2.2.7: private", "", 200, "cache-control: private, max-age=60", Some(Private)),
        ("5.2.2.7: private but for a header", "", 200, "cache-control: private=\"x\", max-age=60", Some(Private)),
        ("7.3: it sets a cookie", "", 200, "cache-control: public, max-age=60|set-cookie: a=b", Some(SetCookie)),
    ];
    for (clause, request, status, response, wanted) in rows {
        assert_eq!(stored(request, *status, response).err(), *wanted, "{clause}");
    }
}

#[test]
fn what_may_be_stored_of_answers_to_cookies() {
    use Unstored::Cookies;
    let rows: &[(&str, &str, u16, &str, Option<Unstored>)] = &[
        ("7.3: an answer to cookies that says nothing", "cookie: a=b", 200, "etag: \"a\"", Some(Cookies)),
        (
            "7.3: .. but when it was changed",
            "cookie: a=b",
            200,
            "last-modified: Thu, 27 Oct 1994 08:49:37 GMT",
            Some(Cookies),
        ),
        (
            "7.3: .. that is never fresh",
            "cookie: a=b",
            200,
            "cache-control: max-age=0, stale-if-error=60|etag: \"a\"",
            Some(Cookies),
        ),
        ("7.3: .. nor by Expires", "cookie: a=b", 200, "expires: 0|etag: \"a\"", Some(Cookies)),
        ("7.3: .. nor unvalidated", "cookie: a=b", 200, "cache-control: no-cache|etag: \"a\"", Some(Cookies)),
        (
            "7.3: .. that is unclear",
            "cookie: a=b",
            200,
            "cache-control: s-maxage=9, s-maxage=9|etag: \"a\"",
            Some(Cookies),
        ),
        ("7.3: .. that says for how long", "cookie: a=b", 200, "cache-control: max-age=60", None),
        ("7.3: .. that is public", "cookie: a=b", 200, "cache-control: public, max-age=0|etag: \"a\"", None),
        (
            "7.3: .. that others may use while it is validated",
            "cookie: a=b",
            200,
            "cache-control: max-age=0, stale-while-revalidate=60",
            None,
        ),
    ];
    for (clause, request, status, response, wanted) in rows {
        assert_eq!(stored(request, *status, response).err(), *wanted, "{clause}");
    }
}

#[test]
fn how_long_it_is_fresh() {
    let rows: &[(&str, &str, &str, u64)] = &[
        ("4.2.1: s-maxage before max-age", "", "cache-control: s-maxage=10, max-age=60", 10),
        ("4.2.1: max-age before Expires", "", "cache-control: max-age=60|expires: 0", 60),
        (
            "4.2.1: Expires less Date",
            "",
            "expires: Sun, 06 Nov 1994 08:59:37 GMT|date: Sun, 06 Nov 1994 08:49:37 GMT",
            600,
        ),
        ("4.2.1: Expires less the coming, without a Date", "", "expires: Sun, 06 Nov 1994 08:59:37 GMT", 600),
        ("4.2.1: the same twice", "", "cache-control: max-age=60, max-age=60", 0),
        ("4.2.1: two lines that differ", "", "cache-control: max-age=60|cache-control: max-age=5", 0),
        ("4.2.1: no number", "", "cache-control: max-age=soon|expires: Mon, 07 Nov 1994 08:49:37 GMT", 0),
        ("5.3: Expires that is no date", "", "expires: 0|last-modified: Thu, 27 Oct 1994 08:49:37 GMT", 0),
        ("5.3: Expires twice", "", "expires: Mon, 07 Nov 1994 08:49:37 GMT|expires: Mon, 07 Nov 1994 08:49:37 GMT", 0),
        ("4.2.2: a tenth of the time since the last change", "", "last-modified: Sun, 06 Nov 1994 08:39:37 GMT", 60),
        ("4.2.2: and an hour at most", "", "last-modified: Thu, 27 Oct 1994 08:49:37 GMT", 3600),
        (
            "4.2.2: nothing is guessed for users",
            "cookie: a=b",
            "cache-control: public|last-modified: Thu, 27 Oct 1994 08:49:37 GMT",
            0,
        ),
        ("4.2.2: a change that lies ahead", "", "last-modified: Mon, 07 Nov 1994 08:49:37 GMT", 0),
    ];
    for (clause, request, response, wanted) in rows {
        let response = format!("{response}|etag: \"a\"");
        let freshness = stored(request, 200, &response).unwrap_or_else(|why| panic!("{clause}: {why:?}"));
        assert_eq!(freshness.lifetime_ms, wanted * 1000, "{clause}");
    }
}

#[test]
fn how_old_it_is() {
    let age_ms = |response: &str, delay_ms| {
        let response = Response::read(200, fields(response));
        let freshness =
            store(&Request::default(), &response, &Rules::default(), arrival(delay_ms)).expect("it is fresh");
        freshness.age_ms(after(5))
    };
    for (clause, response, delay_ms, wanted_ms) in [
        ("4.2.3: since it came", "cache-control: max-age=60", 0, 5_000),
        ("4.2.3: and on its way", "cache-control: max-age=60", 700, 5_700),
        ("4.2.3: and before, by Age", "cache-control: max-age=60|age: 20", 700, 25_700),
        ("4.2.3: and before, by Date", "cache-control: max-age=60|date: Sun, 06 Nov 1994 08:49:07 GMT", 700, 35_000),
        ("4.2.3: the more of both", "cache-control: max-age=60|age: 50|date: Sun, 06 Nov 1994 08:49:07 GMT", 0, 55_000),
        ("4.2.3: a clock that is ahead", "cache-control: max-age=60|date: Mon, 07 Nov 1994 08:49:37 GMT", 0, 5_000),
        ("5.1: an Age that is none", "cache-control: max-age=60|age: -3", 0, 5_000),
        ("5.1: the first of two", "cache-control: max-age=60|age: 1|age: 100", 0, 6_000),
    ] {
        assert_eq!(age_ms(response, delay_ms), wanted_ms, "{clause}");
    }
}

#[test]
fn what_it_is_of_use_for() {
    use Use::{Fresh, Stale, StaleWhileRevalidate, Validate};
    let plain = "cache-control: max-age=60";
    let rows: &[(&str, &str, u64, &str, Use)] = &[
        ("4.2: fresh", plain, 59, "", Fresh),
        ("4.2: no longer", plain, 60, "", Validate),
        ("4.2: it came old", "cache-control: max-age=60|age: 50", 10, "", Validate),
        ("5.2.1.1: not older than", plain, 11, "cache-control: max-age=10", Validate),
        ("5.2.1.1: as old as", plain, 10, "cache-control: max-age=10", Fresh),
        ("5.2.1.1: max-age=0 wants validation", plain, 0, "cache-control: max-age=0", Validate),
        ("5.2.1.2: stale by any time", plain, 600, "cache-control: max-stale", Stale),
        ("5.2.1.2: stale by so much", plain, 70, "cache-control: max-stale=10", Stale),
        ("5.2.1.2: by more", plain, 71, "cache-control: max-stale=10", Validate),
        ("5.2.1.3: fresh for a while yet", plain, 50, "cache-control: min-fresh=10", Fresh),
        ("5.2.1.3: not so long", plain, 51, "cache-control: min-fresh=10", Validate),
        ("5.2.1.4: the request wants it validated", plain, 1, "cache-control: no-cache", Validate),
        ("5.4: .. in the old way", plain, 1, "pragma: no-cache", Validate),
        ("5.4: .. which the new one overrules", plain, 1, "pragma: no-cache|cache-control: max-age=60", Fresh),
        ("5.2.2.4: no-cache", "cache-control: max-age=60, no-cache|etag: \"a\"", 1, "", Validate),
        ("5.2.2.2: must-revalidate while fresh", "cache-control: max-age=60, must-revalidate", 1, "", Fresh),
        (
            "5.2.2.2: must-revalidate",
            "cache-control: max-age=60, must-revalidate",
            60,
            "cache-control: max-stale",
            Validate,
        ),
        (
            "5.2.2.8: proxy-revalidate",
            "cache-control: max-age=60, proxy-revalidate",
            60,
            "cache-control: max-stale",
            Validate,
        ),
        ("5.2.2.10: s-maxage forbids too", "cache-control: s-maxage=60", 60, "cache-control: max-stale", Validate),
        ("RFC 5861, 3", "cache-control: max-age=60, stale-while-revalidate=30", 89, "", StaleWhileRevalidate),
        ("RFC 5861, 3: no longer", "cache-control: max-age=60, stale-while-revalidate=30", 90, "", Validate),
        (
            "RFC 5861, 3: beside s-maxage",
            "cache-control: s-maxage=60, stale-while-revalidate=30",
            61,
            "",
            StaleWhileRevalidate,
        ),
        (
            "RFC 5861, 3: not against must-revalidate",
            "cache-control: max-age=60, must-revalidate, stale-while-revalidate=30",
            61,
            "",
            Validate,
        ),
        (
            "RFC 5861, 3: not for one who wants it younger",
            "cache-control: max-age=60, stale-while-revalidate=30",
            61,
            "cache-control: max-age=60",
            Validate,
        ),
    ];
    for (clause, response, seconds, request, wanted) in rows {
        let freshness = stored("", 200, response).expect("it may be stored");
        let request = Request::read(fields(request));
        assert_eq!(freshness.of_use(&request.wanted, after(*seconds)), *wanted, "{clause}");
    }
}

#[test]
fn what_stands_for_an_error_and_what_others_may_have() {
    let rules = Rules { stale_if_error_s: 30, stale_while_revalidate_s: 0 };
    let freshness = |response: &str| {
        store(&Request::default(), &Response::read(200, fields(response)), &rules, arrival(0))
            .expect("it may be stored")
    };
    for (clause, response, seconds, wanted) in [
        ("RFC 5861, 4", "cache-control: max-age=60, stale-if-error=10", 69, true),
        ("RFC 5861, 4: no longer", "cache-control: max-age=60, stale-if-error=10", 70, false),
        ("the route's own", "cache-control: max-age=60", 89, true),
        ("not against must-revalidate", "cache-control: max-age=60, must-revalidate, stale-if-error=10", 61, false),
        ("the route's own not beside s-maxage", "cache-control: s-maxage=60", 61, false),
        ("5.2.2.4: no-cache", "cache-control: no-cache, stale-if-error=10|etag: \"a\"", 0, false),
    ] {
        assert_eq!(freshness(response).stands_for_error(after(seconds)), wanted, "{clause}");
    }
    for (response, wanted) in [
        ("cache-control: max-age=60", true),
        ("cache-control: max-age=0|etag: \"a\"", false),
        ("cache-control: max-age=0, stale-while-revalidate=10", true),
        ("cache-control: no-cache, max-age=60|etag: \"a\"", false),
    ] {
        assert_eq!(freshness(response).is_for_others(after(0)), wanted, "{response}");
    }
}

#[test]
fn what_one_request_says_of_the_next() {
    use Unstored::{Authorized, Cookies, Private, Status};
    for (why, status, wanted) in [
        (Private, 200, true),
        (Status, 206, true),
        (Status, 307, true),
        (Status, 400, false),
        (Status, 403, false),
        (Status, 431, false),
        (Status, 503, false),
        (Authorized, 200, true),
        (Cookies, 200, false),
    ] {
        assert_eq!(why.is_of_the_resource(status), wanted, "{why:?} {status}");
    }
}

#[test]
fn what_a_route_allows_lengthens_a_time_and_is_none() {
    let rules = Rules { stale_if_error_s: 30, stale_while_revalidate_s: 30 };
    for (response, wanted) in [
        ("cache-control: max-age=60|etag: \"a\"", true),
        ("last-modified: Sun, 06 Nov 1994 08:39:37 GMT", true),
        ("etag: \"a\"", false),
        ("expires: 0|etag: \"a\"", false),
        ("cache-control: max-age=0|etag: \"a\"", false),
        ("cache-control: max-age=60, max-age=60|etag: \"a\"", false),
    ] {
        let read = Response::read(200, fields(response));
        let freshness = store(&Request::default(), &read, &rules, arrival(0)).expect("it may be stored");
        let seen = (freshness.is_for_others(after(0)), freshness.stands_for_error(after(0)));
        assert_eq!(seen, (wanted, wanted), "{response}");
    }
}

#[test]
fn what_was_never_fresh_is_never_stale() {
    let request = Request::read(fields("cache-control: max-stale"));
    for response in ["etag: \"a\"", "cache-control: max-age=6, max-age=6|etag: \"a\"", "expires: 0|etag: \"a\""] {
        let freshness = stored("", 200, response).expect("it may be stored");
        assert_eq!(freshness.of_use(&request.wanted, after(0)), Use::Validate, "{response}");
    }
}
