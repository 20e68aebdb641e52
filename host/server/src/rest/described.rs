//! What the OpenAPI document says of all operations alike: the key, and how problems look.

use super::problem::Body;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, ContentBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{Modify, ToSchema};

const PROBLEM: &str = "application/problem+json";

/// Adds the key to the document, and to each operation that needs one what it answers without it (401), or without the right (403).
/// Runs when all operations are in it.
pub struct Alike;

impl Modify for Alike {
    fn modify(&self, openapi: &mut OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "An API key of the deployment. A client's certificate, where the deployment names one, does instead.",
            ))
            .build();
        openapi.components.get_or_insert_default().add_security_scheme("key", SecurityScheme::Http(scheme));
        openapi.paths.paths.values_mut().flat_map(operations).for_each(describe);
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [get, put, post, delete, patch].into_iter().flatten()
}

fn describe(operation: &mut Operation) {
    let problem = format!("#/components/schemas/{}", Body::name());
    let is_problem = |content: &RefOr<Content>| match content {
        RefOr::T(Content { schema: Some(RefOr::Ref(of)), .. }) => of.ref_location == problem,
        _ => false,
    };
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(Response { content, .. }) = response
            && content.get("application/json").is_some_and(is_problem)
            && let Some(body) = content.shift_remove("application/json")
        {
            content.insert(PROBLEM.into(), body);
        }
    }
    let answer = |text: &str| -> Response {
        let content = ContentBuilder::new().schema(Some(Ref::new(problem.clone()))).build();
        ResponseBuilder::new().description(text).content(PROBLEM, content).build()
    };
    let rights = super::rights::of(operation);
    let responses = &mut operation.responses.responses;
    // Whatever is asked for may be asked in a way that is no request, or at a moment when the hub has too much to do.
    responses.entry("4XX".into()).or_insert_with(|| answer("The request is refused; `code` says why.").into());
    responses.entry("503".into()).or_insert_with(|| answer("Not now; nothing was taken.").into());
    let Some(rights) = rights else { return };
    responses.insert("401".into(), answer("No valid key came with the request.").into());
    if !rights.is_empty() {
        responses.insert("403".into(), answer("The key lacks the right.").into());
    }
}
