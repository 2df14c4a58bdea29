import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import ts from 'typescript';

/** Something that users of a library can name and that nobody has described. */
export interface Undocumented {
  /** `TaskClient` or `TaskClient.close`. */
  readonly name: string;
  /** `libs/client/src/task-client.ts:12`. */
  readonly where: string;
}

/** The source files behind every entry point of the libraries, from the root of the repository. */
export function entryPoints(root: string): string[] {
  return readdirSync(join(root, 'libs')).flatMap((name) => {
    const { exports } = JSON.parse(readFileSync(join(root, 'libs', name, 'package.json'), 'utf8')) as {
      exports: Record<string, string | { readonly 'jetlane-source': string }>;
    };
    return Object.values(exports).flatMap((entry) => (typeof entry === 'string' ? [] : [join('libs', name, entry['jetlane-source'])]));
  });
}

/** A program of these files that looks no further than the libraries themselves: what others publish has its own documentation. */
export function openProgram(root: string, files: readonly string[]): ts.Program {
  const options: ts.CompilerOptions = {
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    target: ts.ScriptTarget.ES2023,
    customConditions: ['jetlane-source'],
    experimentalDecorators: true,
    noLib: true,
    types: [],
  };
  const host = ts.createCompilerHost(options);
  host.resolveModuleNameLiterals = (literals, from, redirected, given) =>
    literals.map(({ text }) =>
      /^(\.|@jetlane\/)/.test(text) ? ts.resolveModuleName(text, from, given, host, undefined, redirected) : { resolvedModule: undefined },
    );
  return ts.createProgram(
    files.map((file) => join(root, file)),
    options,
    host,
  );
}

/** Exported names without a docstring, methods of exported classes and interfaces without one, and optional fields of options: what if they are left out? */
export function undocumented(
  root: string,
  program: ts.Program,
  files: readonly string[],
): { readonly symbols: number; readonly found: Undocumented[] } {
  const checker = program.getTypeChecker();
  const symbols = new Set<ts.Symbol>();
  for (const file of files) {
    const source = program.getSourceFile(join(root, file))!;
    for (const symbol of checker.getExportsOfModule(checker.getSymbolAtLocation(source)!)) {
      symbols.add(symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol);
    }
  }
  const found = [...symbols].flatMap((symbol) => [
    ...(isDescribed(symbol, checker) ? [] : [at(root, symbol.name, symbol)]),
    ...[...methodsOf(symbol), ...optionalFieldsOf(symbol)].flatMap((member) =>
      isDescribed(member, checker) || isInherited(symbol, member, checker) ? [] : [at(root, `${symbol.name}.${member.name}`, member)],
    ),
  ]);
  return { symbols: symbols.size, found };
}

const isDescribed = (symbol: ts.Symbol, checker: ts.TypeChecker): boolean =>
  symbol.getDocumentationComment(checker).some(({ text }) => text.trim().length > 0);

function at(root: string, name: string, symbol: ts.Symbol): Undocumented {
  const declaration = symbol.declarations![0]!;
  const source = declaration.getSourceFile();
  const { line } = source.getLineAndCharacterOfPosition(declaration.getStart());
  return { name, where: `${relative(root, source.fileName).replaceAll('\\', '/')}:${line + 1}` };
}

/** Public functions of a class or an interface. */
function methodsOf(symbol: ts.Symbol): ts.Symbol[] {
  if (!(symbol.flags & (ts.SymbolFlags.Class | ts.SymbolFlags.Interface))) return [];
  return [...(symbol.members?.values() ?? []), ...(symbol.exports?.values() ?? [])].filter(
    ({ flags, declarations = [] }) =>
      (flags & ts.SymbolFlags.Method) !== 0 &&
      declarations.every(
        (declaration) =>
          !(ts.getCombinedModifierFlags(declaration) & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected)) &&
          !(ts.isMethodDeclaration(declaration) && ts.isPrivateIdentifier(declaration.name)),
      ),
  );
}

/** Fields of `…Options` that may be left out. */
function optionalFieldsOf(symbol: ts.Symbol): ts.Symbol[] {
  if (!(symbol.flags & ts.SymbolFlags.Interface) || !symbol.name.endsWith('Options')) return [];
  const optional = ts.SymbolFlags.Property | ts.SymbolFlags.Optional;
  return [...(symbol.members?.values() ?? [])].filter(({ flags }) => (flags & optional) === optional);
}

/** What a class does because an interface or a base class says so is described there. */
function isInherited(symbol: ts.Symbol, method: ts.Symbol, checker: ts.TypeChecker): boolean {
  const heritage = (symbol.declarations ?? []).flatMap((declaration) =>
    ts.isClassDeclaration(declaration) || ts.isInterfaceDeclaration(declaration) ? [...(declaration.heritageClauses ?? [])] : [],
  );
  return heritage
    .flatMap(({ types }) => [...types])
    .some((type) => {
      const base = checker.getTypeAtLocation(type);
      const member = base.getProperty(method.name);
      // Of somebody else's base class nothing is known here, not even its members.
      return base.flags & ts.TypeFlags.Any ? true : member !== undefined;
    });
}
