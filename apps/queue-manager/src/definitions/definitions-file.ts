import { closest, JetlaneError, type QueueDefinition, queueDefinitionSchema } from '@jetlane/protocol';
import { type Document, isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';

/** One thing that is wrong in a file. */
interface Problem {
  /** From 1; 0: the file as a whole. */
  readonly line: number;
  readonly message: string;
}

const FORM = 'expected a map "queues" with a queue definition under each name';

/**
 * Reads a file of queue definitions: a map `queues`, under each name the fields of a definition.
 * @param file its name, for messages
 * @throws JetlaneError `invalid-configuration` that lists all problems, each with its line and, for a slip of the pen, what was meant
 */
export function parseDefinitionsFile(text: string, file: string): QueueDefinition[] {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const syntax = document.errors.map(({ message, pos }) => ({ line: lines.linePos(pos[0]).line, message }));
  if (syntax.length > 0) throw wrongFile(file, syntax);
  const reader = new FileReader(document, lines);
  const definitions = reader.read();
  if (reader.problems.length > 0) throw wrongFile(file, reader.problems);
  return definitions;
}

class FileReader {
  readonly problems: Problem[] = [];

  constructor(
    private readonly document: Document,
    private readonly lines: LineCounter,
  ) {}

  read(): QueueDefinition[] {
    const { contents } = this.document;
    if (contents === null) return [];
    if (!isMap(contents)) return this.wrong([], FORM);
    for (const key of this.keys([])) if (key !== 'queues') this.unknown([], key, ['queues']);
    const queues = this.document.get('queues', true);
    if (queues === undefined || (isScalar(queues) && queues.value === null)) return [];
    if (!isMap(queues)) return this.wrong(['queues'], FORM);
    return this.keys(['queues']).flatMap((name) => this.definition(name));
  }

  private definition(name: string): QueueDefinition[] {
    const path = ['queues', name];
    const fields: unknown = (this.document.toJS() as { queues: Record<string, unknown> }).queues[name] ?? {};
    if (typeof fields !== 'object' || fields === null || Array.isArray(fields))
      return this.wrong(path, `queue "${name}": expected the fields of a definition`);
    if ('name' in fields) return this.wrong([...path, 'name'], `queue "${name}": the name is the key; leave the field out`);
    const parsed = queueDefinitionSchema.safeParse({ name, ...fields });
    if (parsed.success) return [parsed.data];
    for (const issue of parsed.error.issues) this.issue(name, issue);
    return [];
  }

  private issue(name: string, issue: z.core.$ZodIssue): void {
    const inside = issue.path.map(String);
    const path = inside[0] === 'name' ? ['queues', name] : ['queues', name, ...inside];
    if (issue.code === 'unrecognized_keys') for (const key of issue.keys) this.unknown(path, key, fieldsAt(inside));
    else this.wrong(path, `queue "${name}": ${inside.join('.')}: ${issue.message}`);
  }

  private unknown(path: readonly string[], key: string, known: readonly string[]): void {
    const nearest = closest(key, known);
    const where = [...path.slice(1), key].join('.');
    this.wrong([...path, key], `${where}: unknown field; ${nearest ? `did you mean "${nearest}"?` : `known here: ${known.join(', ')}`}`);
  }

  private wrong(path: readonly string[], message: string): [] {
    this.problems.push({ line: this.lineOf(path), message });
    return [];
  }

  /** Line of a key, or of what is nearest above it. */
  private lineOf(path: readonly string[]): number {
    for (let depth = path.length; depth > 0; depth--) {
      const parent = depth === 1 ? this.document.contents : this.document.getIn(path.slice(0, depth - 1), true);
      const pair = isMap(parent) ? parent.items.find(({ key }) => isScalar(key) && String(key.value) === path[depth - 1]) : undefined;
      if (pair && isScalar(pair.key) && pair.key.range) return this.lines.linePos(pair.key.range[0]).line;
    }
    return 1;
  }

  private keys(path: readonly string[]): string[] {
    const map = path.length === 0 ? this.document.contents : this.document.getIn(path, true);
    return isMap(map) ? map.items.flatMap(({ key }) => (isScalar(key) ? [String(key.value)] : [])) : [];
  }
}

/** Names of the fields that a definition has at a place. */
function fieldsAt(path: readonly string[]): string[] {
  let schema: unknown = queueDefinitionSchema;
  for (const step of ['', ...path]) {
    if (schema instanceof z.ZodObject && step !== '') schema = (schema.shape as Record<string, unknown>)[step];
    while (schema instanceof z.ZodOptional) schema = schema.unwrap();
  }
  return schema instanceof z.ZodObject ? Object.keys(schema.shape as object).filter((field) => path.length > 0 || field !== 'name') : [];
}

function wrongFile(file: string, problems: readonly Problem[]): JetlaneError {
  const sorted = [...problems].sort((a, b) => a.line - b.line);
  const text = sorted.map(({ line, message }) => `line ${line}: ${message}`).join('; ');
  return new JetlaneError('invalid-configuration', `${file} is not valid: ${text}`, { details: { file, issues: sorted } });
}
