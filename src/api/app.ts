import { Hono } from 'hono';
import { cors } from 'hono/cors';
import { SyncError } from '../protocol/errors.ts';
import { authenticate } from './auth.ts';
import { cloudRoutes } from './cloud-routes.ts';
import { conflictRoutes } from './conflict-routes.ts';
import { edgeRoutes } from './edge-routes.ts';
import type { ApiEnv } from './env.ts';
import { liveRoutes } from './live-routes.ts';
import { problemResponse } from './problem.ts';
import { queueRoutes } from './queue-routes.ts';
import { registryRoutes } from './registry-routes.ts';
import { relayRoutes, syncRoutes } from './sync-routes.ts';
import { transactionRoutes } from './transaction-routes.ts';
import { transferRoutes } from './transfer-routes.ts';

const VERSION = '0.1.0';
/** What a page at another origin may read of an answer. */
const EXPOSED = ['X-Causal-Token', 'ETag', 'Retry-After'];

/** The HTTP API. `http.md` is its contract. */
export const app = new Hono<ApiEnv>()
  .use(async (c, next) => {
    await next();
    if (!c.res.headers.has('Cache-Control')) c.res.headers.set('Cache-Control', 'no-store');
  })
  // Any origin may call: who calls is told by the bearer token, which no browser sends by itself.
  .use(cors({ origin: '*', exposeHeaders: EXPOSED, maxAge: 86_400 }))
  .get('/health', (c) => {
    const isConfigured = Boolean(c.env.CAUSEWAY_SECRET);
    return c.json({ status: isConfigured ? 'ok' : 'not_configured', version: VERSION }, isConfigured ? 200 : 503);
  })
  .use('/v1/*', authenticate)
  .route('/v1', liveRoutes)
  .route('/v1/edge', edgeRoutes)
  .route('/v1/edge', transactionRoutes)
  .route('/v1/edge', queueRoutes)
  .route('/v1/edge', relayRoutes)
  .route('/v1/sync', syncRoutes)
  .route('/v1/conflicts', conflictRoutes)
  .route('/v1', registryRoutes)
  .route('/v1', transferRoutes)
  .route('/v1', cloudRoutes)
  .notFound((c) => {
    const allowed = methodsOf(c.req.path);
    if (allowed.length === 0) return problemResponse(new SyncError('not_found', 'there is no such path'));
    const refused = problemResponse(new SyncError('method_not_allowed', `this is called by ${allowed.join(', ')}`));
    refused.headers.set('Allow', allowed.join(', '));
    return refused;
  })
  .onError((error) => problemResponse(error));

/** By which methods a path may be called; what is said of all methods is no call. */
function methodsOf(path: string): string[] {
  return METHODS.filter((method) => app.router.match(method, path)[0].some(([[, route]]) => route.method === method));
}

const METHODS = ['GET', 'PUT', 'PATCH', 'POST', 'DELETE'];

/**
 * For Hono's typed client, `hc<AppType>`.
 *
 * @public
 */
export type AppType = typeof app;
