/** The composition root: the API, and the Durable Objects behind it. */
import { app } from './api/app.ts';

export { CloudSpace } from './cloud/cloud-space.ts';
export { EdgeNode } from './edge/edge-node.ts';
export default app;
