import { EFFECTIVE_TYPES, type NetworkReport } from '../sync/plan.ts';

/** What there is of it in browsers: https://wicg.github.io/netinfo, and not in all of them. Elsewhere there is nothing. */
interface Platform extends Partial<Listened<'online' | 'offline'>> {
  readonly navigator?: {
    readonly onLine?: boolean;
    readonly connection?: Partial<Listened<'change'>> & {
      readonly effectiveType?: string;
      readonly saveData?: boolean;
    };
  };
}

interface Listened<Type> {
  addEventListener(type: Type, listener: () => void): void;
  removeEventListener(type: Type, listener: () => void): void;
}

/**
 * Tells what the platform says of the network, now and when that changes; nothing, where it doesn't. How long a round
 * trip takes is not of interest: that is measured.
 *
 * @returns how to end that.
 */
export function watchNetwork(report: (network: NetworkReport & { readonly online: boolean }) => void): () => void {
  const scope: object = globalThis;
  const platform: Platform = scope;
  const { navigator } = platform;
  if (navigator?.onLine === undefined) return () => undefined;
  const { connection } = navigator;
  let last = '';
  const tell = () => {
    const effectiveType = EFFECTIVE_TYPES.find((type) => type === connection?.effectiveType);
    const network = { online: navigator.onLine !== false, effectiveType, saveData: connection?.saveData };
    // What is told makes a client sync: the same again doesn't.
    if (JSON.stringify(network) === last) return;
    last = JSON.stringify(network);
    report(network);
  };
  platform.addEventListener?.('online', tell);
  platform.addEventListener?.('offline', tell);
  connection?.addEventListener?.('change', tell);
  tell();
  return () => {
    platform.removeEventListener?.('online', tell);
    platform.removeEventListener?.('offline', tell);
    connection?.removeEventListener?.('change', tell);
  };
}
