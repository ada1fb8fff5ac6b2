import { afterEach, expect, test, vi } from 'vitest';
import { problemResponse } from '../../src/api/problem.ts';
import { SyncError } from '../../src/protocol/errors.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

/** As the runtime throws where an object is reset or swamped. */
const ofRuntime = (marks: object) => Object.assign(new Error('secret details'), marks);

test.each([
  ['was reset', { retryable: true }, 'cloud_unavailable'],
  ['is swamped', { overloaded: true }, 'overloaded'],
  ['is swamped and says that a retry helps', { overloaded: true, retryable: true }, 'overloaded'],
])('an object that %s is a 503 that says when to come back', async (_, marks, code) => {
  const log = vi.spyOn(console, 'error').mockReturnValue(undefined);
  const response = problemResponse(ofRuntime(marks));
  expect(response.status).toBe(503);
  expect(response.headers.get('Retry-After')).toBe('1');
  expect(response.headers.get('Content-Type')).toBe('application/problem+json');
  const text = await response.text();
  expect(JSON.parse(text)).toMatchObject({ status: 503, code, retryAfterMs: 1_000 });
  expect(text).not.toContain('secret');
  expect(log).not.toHaveBeenCalled();
});

test.each([
  ['an error without marks', ofRuntime({})],
  ['one with marks that say no', ofRuntime({ retryable: false, overloaded: false })],
  ['what is no error', 'secret details'],
  ['nothing', undefined],
])('%s is a 500 that tells the log, and not the caller', async (_, error) => {
  const log = vi.spyOn(console, 'error').mockReturnValue(undefined);
  const response = problemResponse(error);
  expect(response.status).toBe(500);
  expect(response.headers.get('Retry-After')).toBeNull();
  const text = await response.text();
  expect(JSON.parse(text)).toMatchObject({ code: 'internal' });
  expect(text).not.toContain('secret');
  expect(log).toHaveBeenCalledOnce();
});

test('a failure of ours has its status, its title and its details; Retry-After is in whole seconds', async () => {
  const response = problemResponse(new SyncError('rate_limited', 'slow down', { retryAfterMs: 1_200 }));
  expect(response.status).toBe(429);
  expect(response.headers.get('Retry-After')).toBe('2');
  expect(await response.json()).toEqual({
    type: 'urn:causeway:problem:rate_limited',
    title: 'Too many requests',
    status: 429,
    detail: 'slow down',
    code: 'rate_limited',
    retryAfterMs: 1_200,
  });
  expect(problemResponse(new SyncError('unauthenticated', '')).headers.get('WWW-Authenticate')).toBe('Bearer');
});
