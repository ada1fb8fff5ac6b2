/** The composition root: the API, and the Durable Objects behind it. */
import { app } from './api/app.ts';
import { CloudSpace } from './cloud/cloud-space.ts';
import { EdgeNode } from './edge/edge-node.ts';

export { CloudSpace, EdgeNode };
export default app;
