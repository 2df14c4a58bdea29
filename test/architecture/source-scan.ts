import { readdir, readFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { join, relative } from 'node:path';
import ts from 'typescript';

export interface SourceFile {
  /** Path from the root of the repository, with `/`. */
  readonly path: string;
  readonly text: string;
}

export interface Finding {
  readonly check: 'any' | 'only' | 'mark' | 'length' | 'environment' | 'undeclared';
  readonly path: string;
  readonly line: number;
  readonly what: string;
}

export const MAX_LINES = 350;
const SKIPPED = new Set(['node_modules', 'dist', '.git', '.jetlane', '.cache', 'coverage']);
// Spelled apart, so that this file is not a finding of its own.
const MARKS = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX', 'HA' + 'CK'].join('|')})\\b`);

/** All TypeScript and JavaScript sources below the given folders of `root`. */
export async function readSources(root: string, folders: readonly string[]): Promise<SourceFile[]> {
  const found: SourceFile[] = [];
  const visit = async (folder: string): Promise<void> => {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      if (entry.isDirectory() && !SKIPPED.has(entry.name)) await visit(path);
      else if (entry.isFile() && /\.([cm]?ts|tsx|[cm]js)$/.test(entry.name)) {
        found.push({ path: relative(root, path).replaceAll('\\', '/'), text: await readFile(path, 'utf8') });
      }
    }
  };
  for (const folder of folders) await visit(join(root, folder));
  return found;
}

/** What this file says against the house rules that need no knowledge of other files. */
export function scan(file: SourceFile, declared?: ReadonlySet<string>): Finding[] {
  const findings: Finding[] = [];
  const add = (check: Finding['check'], line: number, what: string): void => void findings.push({ check, path: file.path, line, what });
  const lines = file.text.trimEnd().split('\n');
  if (lines.length > MAX_LINES) add('length', lines.length, `${lines.length} lines`);
  lines.forEach((line, index) => {
    if (MARKS.test(line)) add('mark', index + 1, line.trim());
  });
  const tree = ts.createSourceFile(
    file.path,
    file.text,
    ts.ScriptTarget.ESNext,
    true,
    file.path.endsWith('x') ? ts.ScriptKind.TSX : undefined,
  );
  const rules = [
    findAny,
    findOnly,
    ...(mayReadEnvironment(file.path) ? [] : [findEnvironment]),
    ...(declared ? [findUndeclared(declared)] : []),
  ];
  const visit = (node: ts.Node): void => {
    for (const rule of rules) {
      const finding = rule(node, tree);
      if (finding) add(finding[0], tree.getLineAndCharacterOfPosition(node.getStart(tree)).line + 1, finding[1]);
    }
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return findings;
}

type Hit = readonly [Finding['check'], string] | undefined;

function findAny(node: ts.Node): Hit {
  return node.kind === ts.SyntaxKind.AnyKeyword ? ['any', 'any'] : undefined;
}

function findOnly(node: ts.Node, tree: ts.SourceFile): Hit {
  if (!ts.isPropertyAccessExpression(node) || node.name.text !== 'only') return undefined;
  const base = node.expression.getText(tree).split(/[.(]/)[0] ?? '';
  return ['describe', 'it', 'test', 'suite', 'bench'].includes(base) ? ['only', node.getText(tree)] : undefined;
}

/** Configuration modules alone know the environment; specs and the test kit set it up for others. */
function mayReadEnvironment(path: string): boolean {
  if (!/^(libs|apps)\//.test(path) || path.startsWith('libs/testing/')) return true;
  return path.endsWith('/config.ts') || path.endsWith('.spec.ts');
}

function findEnvironment(node: ts.Node, tree: ts.SourceFile): Hit {
  if (ts.isPropertyAccessExpression(node) && node.name.text === 'env') {
    const base = node.expression.getText(tree);
    return /(^|\.)process$/.test(base) ? ['environment', node.getText(tree)] : undefined;
  }
  if (ts.isElementAccessExpression(node) && /^['"`]env['"`]$/.test(node.argumentExpression.getText(tree))) {
    return ['environment', node.getText(tree)];
  }
  if (ts.isImportSpecifier(node) && (node.propertyName ?? node.name).text === 'env' && /process['"]$/.test(importedFrom(node, tree))) {
    return ['environment', `import { env } from ${importedFrom(node, tree)}`];
  }
  if (ts.isBindingElement(node) && (node.propertyName ?? node.name).getText(tree) === 'env') {
    const variable = ts.findAncestor(node, ts.isVariableDeclaration);
    if (variable?.initializer?.getText(tree) === 'process') return ['environment', variable.getText(tree)];
  }
  return undefined;
}

function importedFrom(node: ts.Node, tree: ts.SourceFile): string {
  return ts.findAncestor(node, ts.isImportDeclaration)?.moduleSpecifier.getText(tree) ?? '';
}

/** A package must declare what it imports itself, or it breaks as soon as it is installed alone. */
function findUndeclared(declared: ReadonlySet<string>) {
  return (node: ts.Node): Hit => {
    const specifier = specifierOf(node);
    if (specifier === undefined || /^[./#]/.test(specifier) || isBuiltin(specifier)) return undefined;
    const name = specifier
      .split('/')
      .slice(0, specifier.startsWith('@') ? 2 : 1)
      .join('/');
    return declared.has(name) ? undefined : ['undeclared', name];
  };
}

function specifierOf(node: ts.Node): string | undefined {
  if ((ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) && node.moduleSpecifier && ts.isStringLiteral(node.moduleSpecifier)) {
    return node.moduleSpecifier.text;
  }
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword && node.arguments[0]) {
    return ts.isStringLiteral(node.arguments[0]) ? node.arguments[0].text : undefined;
  }
  return undefined;
}
