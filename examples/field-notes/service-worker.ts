/** Keeps the page, so that it opens without a network. The notes are not its business: the client has them. */
const CACHE = 'field-notes';
const PAGE = ['/', '/app.js', '/style.css'];

/** What tsc doesn't know of a page's script: its types are those of pages. */
interface WorkerEvent extends Event {
  readonly request: Request;
  waitUntil(work: Promise<unknown>): void;
  respondWith(answer: Promise<Response>): void;
}

const on = (name: string, listener: (event: WorkerEvent) => void) =>
  addEventListener(name, (event) => listener(event as WorkerEvent));

on('install', (event) => event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(PAGE))));

on('fetch', (event) => {
  const { pathname } = new URL(event.request.url);
  if (PAGE.includes(pathname)) event.respondWith(newest(event.request, pathname));
});

/** From the network where there is one; else as it was the last time. */
async function newest(request: Request, pathname: string): Promise<Response> {
  const cache = await caches.open(CACHE);
  try {
    const answer = await fetch(request);
    if (answer.ok) await cache.put(pathname, answer.clone());
    return answer;
  } catch (error) {
    const kept = await cache.match(pathname);
    if (kept === undefined) throw error;
    return kept;
  }
}
