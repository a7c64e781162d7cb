//! A router that remembers its routes, so that the OpenAPI document and the sweep of the tests can be held against it.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::routing::any;

use super::problem::not_found;
use crate::serve::App;

/// Routes by method and path.
#[derive(Default)]
pub(crate) struct Routes {
    router: Router<Arc<App>>,
    rows: Vec<(&'static str, &'static str)>,
}

impl Routes {
    /// `GET path`, and so `HEAD`.
    pub(crate) fn get<H, T>(self, path: &'static str, handler: H) -> Routes
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        let Routes { router, mut rows } = self;
        rows.push(("get", path));
        let router = router.route(path, any(not_found).get(handler));
        Routes { router, rows }
    }

    /// `POST path`.
    pub(crate) fn post<H, T>(self, path: &'static str, handler: H) -> Routes
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        let Routes { router, mut rows } = self;
        rows.push(("post", path));
        let router = router.route(path, any(not_found).post(handler));
        Routes { router, rows }
    }

    /// Both of one path.
    pub(crate) fn get_and_post<G, S, P, T>(self, path: &'static str, (get, post): (G, P)) -> Routes
    where
        G: Handler<S, Arc<App>>,
        S: 'static,
        P: Handler<T, Arc<App>>,
        T: 'static,
    {
        let Routes { router, mut rows } = self;
        rows.extend([("get", path), ("post", path)]);
        let router = router.route(path, any(not_found).get(get).post(post));
        Routes { router, rows }
    }

    /// These and others.
    pub(crate) fn and(self, others: Routes) -> Routes {
        let Routes { router, mut rows } = self;
        rows.extend(others.rows);
        let router = router.merge(others.router);
        Routes { router, rows }
    }

    /// The router, which still wants its state.
    pub(crate) fn router(self) -> Router<Arc<App>> {
        self.router
    }

    /// Each route: its method in lower case, and its path.
    #[cfg(test)]
    pub(crate) fn rows(&self) -> &[(&'static str, &'static str)] {
        &self.rows
    }
}
