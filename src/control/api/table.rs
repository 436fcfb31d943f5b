//! The table of routes, made from the list of operations: the router, the labels of the counts and the description follow
//! from it. Admits and counts nothing.

use std::future::Future;
use std::sync::{Arc, LazyLock};

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::Operation;

use super::access::Api;
use super::input::{JsonBody, NumberInPath, QueryParameters, RoomInPath};
use super::openapi;
use crate::base::ids::RoomName;
use crate::control::operations::{self, Catalogue, OperationError, Operations};

/// The prefix of every path.
pub(super) const PREFIX: &str = "/api";

/// The routes of all operations, with their description.
pub(super) static TABLE: LazyLock<RouteTable> = LazyLock::new(|| {
    let mut table = RouteTable { routes: Vec::new(), description: openapi::frame() };
    operations::list(&mut table);
    table
});

/// The route of one operation.
pub(super) struct ApiRoute {
    pub method: Method,
    /// Below [`PREFIX`]; `{room}` stands for a room's name, `{id}` for a number.
    pub path: String,
    pub served: MethodRouter<Arc<Api>>,
}

/// The routes of all operations.
pub(super) struct RouteTable {
    pub routes: Vec<ApiRoute>,
    pub description: OpenApi,
}

/// Method, path and success status of an operation, from its description.
struct Described {
    method: Method,
    filter: MethodFilter,
    path: String,
    success: StatusCode,
}

impl RouteTable {
    /// The pattern of the route that matches a path; both are below [`PREFIX`].
    pub fn pattern(&self, path: &str) -> Option<&str> {
        let fits = |pattern: &&str| {
            let mut parts = path.split('/');
            let same = |expected: &str| parts.next().is_some_and(|part| part == expected || expected.starts_with('{'));
            pattern.split('/').all(same) && parts.next().is_none()
        };
        self.routes.iter().map(|route| route.path.as_str()).find(fits)
    }

    /// The value of `Allow` for a pattern.
    pub fn allowed(&self, pattern: &str) -> String {
        let methods = self.routes.iter().filter(|route| route.path == pattern).map(|route| &route.method);
        let names = methods.map(|method| if *method == Method::GET { "GET, HEAD" } else { method.as_str() });
        names.collect::<Vec<_>>().join(", ")
    }

    fn described(&self, name: &str) -> Described {
        let has_name = |operation: &&Operation| operation.operation_id.as_deref() == Some(name);
        let found = self.description.paths.paths.iter().find_map(|(path, item)| {
            let methods = [(Method::GET, MethodFilter::GET, &item.get), (Method::POST, MethodFilter::POST, &item.post)];
            methods.into_iter().find_map(|(method, filter, operation)| {
                let operation = operation.as_ref().filter(has_name)?;
                let path = path.strip_prefix(PREFIX).expect("every operation has the prefix").to_owned();
                let success =
                    operation.responses.responses.keys().find_map(|status| {
                        StatusCode::from_bytes(status.as_bytes()).ok().filter(StatusCode::is_success)
                    });
                Some(Described {
                    method,
                    filter,
                    path,
                    success: success.expect("every operation describes its success"),
                })
            })
        });
        found.unwrap_or_else(|| panic!("the operation {name} has no description"))
    }

    fn add<H, T>(&mut self, name: &str, serve: impl FnOnce(StatusCode) -> H)
    where
        H: axum::handler::Handler<T, Arc<Api>>,
        T: 'static,
    {
        let Described { method, filter, path, success } = self.described(name);
        self.routes.push(ApiRoute { method, path, served: on(filter, serve(success)) });
    }
}

impl Catalogue for RouteTable {
    fn describe(&mut self, description: OpenApi) {
        self.description.merge(description);
    }

    fn with_query<Q, A, W>(&mut self, name: &str, run: fn(Arc<Operations>, Q) -> W)
    where
        Q: DeserializeOwned + Send + 'static,
        A: Serialize + 'static,
        W: Future<Output = Result<A, OperationError>> + Send + 'static,
    {
        self.add(name, |success| {
            move |State(api): State<Arc<Api>>, QueryParameters(query): QueryParameters<Q>| {
                answer(success, run(api.operations(), query))
            }
        });
    }

    fn of_room<Q, A, W>(&mut self, name: &str, run: fn(Arc<Operations>, RoomName, Q) -> W)
    where
        Q: DeserializeOwned + Send + 'static,
        A: Serialize + 'static,
        W: Future<Output = Result<A, OperationError>> + Send + 'static,
    {
        self.add(name, |success| {
            move |State(api): State<Arc<Api>>,
                  RoomInPath(room): RoomInPath,
                  QueryParameters(query): QueryParameters<Q>| {
                answer(success, run(api.operations(), room, query))
            }
        });
    }

    fn of_number<A, W>(&mut self, name: &str, run: fn(Arc<Operations>, u64) -> W)
    where
        A: Serialize + 'static,
        W: Future<Output = Result<A, OperationError>> + Send + 'static,
    {
        self.add(name, |success| {
            move |State(api): State<Arc<Api>>, NumberInPath(number): NumberInPath| {
                answer(success, run(api.operations(), number))
            }
        });
    }

    fn with_body<B, A, W>(&mut self, name: &str, run: fn(Arc<Operations>, B) -> W)
    where
        B: DeserializeOwned + Send + 'static,
        A: Serialize + 'static,
        W: Future<Output = Result<A, OperationError>> + Send + 'static,
    {
        self.add(name, |success| {
            move |State(api): State<Arc<Api>>, JsonBody(body): JsonBody<B>| answer(success, run(api.operations(), body))
        });
    }

    fn without_input<A, W>(&mut self, name: &str, run: fn(Arc<Operations>) -> W)
    where
        A: Serialize + 'static,
        W: Future<Output = Result<A, OperationError>> + Send + 'static,
    {
        self.add(name, |success| move |State(api): State<Arc<Api>>| answer(success, run(api.operations())));
    }
}

async fn answer<A: Serialize>(success: StatusCode, work: impl Future<Output = Result<A, OperationError>>) -> Response {
    match work.await {
        Ok(answer) => (success, Json(answer)).into_response(),
        Err(refused) => refused.into_response(),
    }
}
