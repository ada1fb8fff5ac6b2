/** A source text without what is no code, and the string literals that stood in it. */
export interface SourceText {
  /** As long as the original, line breaks kept: comments, and the insides of strings and regular expressions, blank. */
  code: string;
  /** The value of each string literal, by the index of its opening quote. */
  strings: ReadonlyMap<number, string>;
}

/** After these a `/` begins a regular expression, otherwise it divides. */
const BEFORE_REGEXP = /(?:^|[-(,=:[!&|?{};+*%~^<>]|\b(?:return|typeof|case|in|of|do|else|await|yield|void|throw))$/;

/** Blanks comments and literals of a TypeScript source. Pure; time linear in the text but for long blank runs. */
export function readSource(text: string): SourceText {
  const strings = new Map<number, string>();
  /** For each open `${`, the depth of braces at which its template goes on. */
  const templates: number[] = [];
  let code = '';
  let depth = 0;
  let at = 0;

  const keep = (count: number) => {
    code += text.slice(at, at + count);
    at += count;
  };
  const blankTo = (end: number) => {
    code += text.slice(at, end).replace(/[^\n]/g, ' ');
    at = end;
  };
  const template = () => {
    const end = endOfTemplatePart(text, at);
    blankTo(end);
    if (text[at] === '`') keep(1);
    else if (text[at] === '$') {
      keep(2);
      templates.push(depth);
    }
  };

  while (at < text.length) {
    const char = text[at];
    const pair = text.slice(at, at + 2);
    if (pair === '//') blankTo(indexOrEnd(text, '\n', at));
    else if (pair === '/*') blankTo(Math.min(indexOrEnd(text, '*/', at + 2) + 2, text.length));
    else if (char === "'" || char === '"') {
      const start = at;
      keep(1);
      const end = endOfLiteral(text, at, char);
      strings.set(start, text.slice(at, end));
      blankTo(end);
      keep(1);
    } else if (char === '`') {
      keep(1);
      template();
    } else if (char === '}' && templates.length > 0 && templates.at(-1) === depth) {
      templates.pop();
      keep(1);
      template();
    } else if (char === '/' && BEFORE_REGEXP.test(code.slice(-200).trimEnd())) {
      keep(1);
      blankTo(endOfLiteral(text, at, '/'));
      keep(1);
    } else {
      if (char === '{') depth += 1;
      if (char === '}') depth -= 1;
      keep(1);
    }
  }
  return { code, strings };
}

/** Index of the unescaped `close`, or of the line's end: no such literal spans lines. */
function endOfLiteral(text: string, from: number, close: string): number {
  let inClass = false;
  for (let index = from; index < text.length; index += 1) {
    const char = text[index];
    if (char === '\n') return index;
    if (char === '\\') index += 1;
    else if (close === '/' && char === '[') inClass = true;
    else if (close === '/' && char === ']') inClass = false;
    else if (char === close && !inClass) return index;
  }
  return text.length;
}

function endOfTemplatePart(text: string, from: number): number {
  for (let index = from; index < text.length; index += 1) {
    if (text[index] === '\\') index += 1;
    else if (text[index] === '`' || text.startsWith('${', index)) return index;
  }
  return text.length;
}

function indexOrEnd(text: string, needle: string, from: number): number {
  const index = text.indexOf(needle, from);
  return index === -1 ? text.length : index;
}
