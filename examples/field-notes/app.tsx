import { useSyncStatus } from 'causeway/react';
import { type FormEvent, useState, useSyncExternalStore } from 'react';
import { createRoot } from 'react-dom/client';
import { newsOf } from './news.ts';
import { type Note, openNotes } from './notes.ts';
import { smallPhoto } from './photo.ts';

const user = new URLSearchParams(location.search).get('user') ?? 'ann';
const { client, notes, newestFirst } = openNotes(user);
const news = newsOf(client);

type Row = Note & { readonly id: string };

/** The rows of the live query, as they change. With `@tanstack/react-db` this is `useLiveQuery`. */
const rows = (() => {
  let all: readonly Row[] = [];
  return {
    get: () => all,
    subscribe: (listener: () => void) => {
      const look = () => {
        all = newestFirst.toArray;
        listener();
      };
      const subscription = newestFirst.subscribeChanges(look, { includeInitialState: true });
      look();
      return () => subscription.unsubscribe();
    },
  };
})();

function App() {
  const all = useSyncExternalStore(rows.subscribe, rows.get);
  const [failure, setFailure] = useState('');
  /** What was written is shown at once; it is undone where it can't be kept here, as on a full disk. */
  const keep = (done: { isPersisted: { promise: Promise<unknown> } }) => {
    done.isPersisted.promise.then(
      () => setFailure(''),
      (error: unknown) => setFailure(String(error)),
    );
  };
  const add = (fields: Partial<Note>) => {
    const empty = { title: '', text: '', done: false, photo: '', addedAt: new Date().toISOString() };
    keep(notes.insert({ ...empty, ...fields, id: crypto.randomUUID() }));
  };
  return (
    <main>
      <Status />
      {failure && <p role="alert">{failure}</p>}
      <NoteForm label="Add" onSave={add} />
      {all.map((note) => (
        <NoteItem
          key={note.id}
          note={note}
          onChange={(fields) => keep(notes.update(note.id, (draft) => void Object.assign(draft, fields)))}
          onDelete={() => keep(notes.delete(note.id))}
        />
      ))}
      <NewsPanel titles={new Map(all.map(({ id, title }) => [id, title]))} />
    </main>
  );
}

function Status() {
  const status = useSyncStatus(client);
  if (status === null) return <header>{user}: opening</header>;
  const { online, paused, state, queue } = status;
  const link = online ? (paused ?? state) : 'offline';
  return (
    <header>
      {user}: <output>{`${link}, ${queue.total - queue.dead} to send`}</output>
    </header>
  );
}

function NoteItem(props: { note: Row; onChange: (fields: Partial<Note>) => void; onDelete: () => void }) {
  const { note, onChange, onDelete } = props;
  const [isEdited, setEdited] = useState(false);
  const save = (fields: Partial<Note>) => {
    setEdited(false);
    onChange(fields);
  };
  if (isEdited) return <NoteForm label="Save" note={note} onSave={save} />;
  return (
    <article aria-label={note.title}>
      <h2>
        <input
          type="checkbox"
          aria-label="Done"
          checked={note.done}
          onChange={(event) => onChange({ done: event.target.checked })}
        />
        {note.title}
      </h2>
      <p>{note.text}</p>
      {note.photo && <img src={note.photo} alt="" />}
      <button type="button" onClick={() => setEdited(true)}>
        Edit
      </button>
      <button type="button" onClick={onDelete}>
        Delete
      </button>
    </article>
  );
}

/** Saves the fields that were changed in it: what others change meanwhile is not written over. */
function NoteForm({ label, note, onSave }: { label: string; note?: Row; onSave: (fields: Partial<Note>) => void }) {
  const [before] = useState({ title: note?.title ?? '', text: note?.text ?? '' });
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const given = new FormData(form);
    const [title, text, file] = [String(given.get('title')), String(given.get('text')), given.get('photo')];
    onSave({
      ...(title !== before.title && { title }),
      ...(text !== before.text && { text }),
      ...(file instanceof File && file.size > 0 && { photo: await smallPhoto(file) }),
    });
    form.reset();
  };
  return (
    <form aria-label={label} onSubmit={(event) => void submit(event)}>
      <input name="title" aria-label="Title" placeholder="Title" required defaultValue={before.title} />
      <textarea name="text" aria-label="Text" placeholder="Text" defaultValue={before.text} />
      <input name="photo" aria-label="Photo" type="file" accept="image/*" />
      <button type="submit">{label}</button>
    </form>
  );
}

function NewsPanel({ titles }: { titles: ReadonlyMap<string, string> }) {
  const all = useSyncExternalStore(news.subscribe, news.get);
  return (
    <aside aria-label="Conflicts">
      {all.map(({ changeId, noteId = '', text }) => (
        <p key={changeId}>
          <strong>{titles.get(noteId) ?? 'A note'}</strong> {text}
        </p>
      ))}
    </aside>
  );
}

async function start(): Promise<void> {
  const root = createRoot(document.body);
  // It makes the page load without a network; where a browser has none, the notes are there all the same.
  navigator.serviceWorker?.register('/service-worker.js').catch((error: unknown) => console.error(error));
  try {
    await client.initialize();
    await news.load();
    root.render(<App />);
  } catch (error) {
    root.render(<p role="alert">{String(error)}</p>);
  }
}

void start();
