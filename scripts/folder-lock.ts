import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** A folder that nobody else can lock. */
export interface FolderLock {
  /** Safe to call twice. */
  release(): void;
}

/** Of https://sqlite.org/rescode.html. */
const SQLITE_BUSY = 5;

/**
 * Locks a folder, which is made if it is missing; undefined: somebody else has it locked. The lock is the operating
 * system's, on a file that SQLite keeps open. So it ends with this process, however that ends, and there is never an old
 * one to be told from a live one, as a file with a process id in it would have to be.
 *
 * @throws Error that names the folder where it can't be made or written.
 */
export function lockFolder(folder: string): FolderLock | undefined {
  try {
    mkdirSync(folder, { recursive: true });
    const db = new DatabaseSync(path.join(folder, 'causeway.lock'));
    return isTaken(db) ? { release: () => db.isOpen && db.close() } : undefined;
  } catch (error) {
    throw new Error(`${folder} can't be used: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** @returns false, and closes the database, where another connection has it. */
function isTaken(db: DatabaseSync): boolean {
  try {
    db.exec('BEGIN EXCLUSIVE');
    return true;
  } catch (error) {
    db.close();
    if (error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY) return false;
    throw error;
  }
}
