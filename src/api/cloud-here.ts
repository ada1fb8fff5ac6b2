import type { MiddlewareHandler } from 'hono';
import { SyncError } from '../protocol/errors.ts';
import type { ApiEnv } from './env.ts';

/** Refuses what only the cloud can answer where the cloud is elsewhere: the one here would be a second, empty one. */
export const cloudHere: MiddlewareHandler<ApiEnv> = async (c, next) => {
  const { CLOUD_URL: url } = c.env;
  if (url) throw new SyncError('cloud_unavailable', `the cloud of these nodes is not here; it is at ${url}`);
  await next();
};
