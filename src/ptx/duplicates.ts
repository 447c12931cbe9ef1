/**
 * Names that are defined twice in one scope (GCR2006), by the rules that ptxas follows: registers, variables, labels and
 * parameters of one scope share a name space; inner scopes may hide names of outer ones; a function may be declared any
 * number of times but has one body; `.extern` declarations repeat freely.
 */
import type { FunctionDeclaration, ModuleItem, Statement, VariableDeclaration } from './ast.js';

/** Called with the offset of the second definition. */
export type ReportDuplicate = (offset: number, message: string) => void;

/**
 * Names of one scope. A range `%r<4>` stands for `%r0 … %r3` without listing them. As in ptxas, a variable belongs to a
 * range when its name without all its trailing digits is the range's prefix, so `q<20>` and `q1<5>` do not collide; labels
 * never collide with ranges.
 */
class Names {
  private readonly names = new Set<string>();
  /** Size of the range of each prefix. */
  private readonly ranges = new Map<string, number>();
  /** Smallest number behind each prefix among single variables. */
  private readonly smallest = new Map<string, number>();

  /** Adds a label, parameter or function; false when the scope has the name already. */
  add(name: string): boolean {
    if (this.names.has(name)) return false;
    this.names.add(name);
    return true;
  }

  /** Adds a variable; false when the scope has it already, on its own or as part of a range. */
  addVariable(name: string): boolean {
    const split = /\d{1,9}$/.exec(name);
    if (split === null) return this.add(name);
    const prefix = name.slice(0, split.index);
    const number = Number(split[0]);
    const inRange = number < (this.ranges.get(prefix) ?? 0);
    this.smallest.set(prefix, Math.min(number, this.smallest.get(prefix) ?? number));
    return this.add(name) && !inRange;
  }

  /** Adds `prefix0 … prefix(count-1)`; false when the scope has one of them already. */
  addRange(prefix: string, count: number): boolean {
    const fresh = !this.ranges.has(prefix) && (this.smallest.get(prefix) ?? count) >= count;
    this.ranges.set(prefix, Math.max(count, this.ranges.get(prefix) ?? 0));
    return fresh;
  }
}

function addVariable(names: Names, variable: VariableDeclaration, report: ReportDuplicate): void {
  for (const { name, count, offset } of variable.declarators) {
    const fresh = count === undefined ? names.addVariable(name) : names.addRange(name, count);
    if (!fresh) report(offset, `'${count === undefined ? name : `${name}<${count}>`}' is defined twice in this scope`);
  }
}

/** Checks the statements of one body, and of the scopes in it. */
export function checkBodyNames(
  fn: Pick<FunctionDeclaration, 'parameters' | 'returns'>,
  body: readonly Statement[],
  report: ReportDuplicate,
): void {
  const names = new Names();
  for (const parameter of [...fn.returns, ...fn.parameters]) {
    if (parameter.name !== '' && parameter.name !== '_' && !names.addVariable(parameter.name)) {
      report(parameter.offset, `the parameter '${parameter.name}' is defined twice`);
    }
  }
  checkScope(names, body, report);
}

/** Recursion is bounded by the limit on nested braces. */
function checkScope(names: Names, statements: readonly Statement[], report: ReportDuplicate): void {
  for (const statement of statements) {
    switch (statement.kind) {
      case 'variable':
        if (statement.linking !== 'extern') addVariable(names, statement, report);
        break;
      case 'label':
      case 'branchTargets':
      case 'callTargets':
      case 'callPrototype':
        if (!names.add(statement.name)) report(statement.offset, `'${statement.name}' is defined twice in this scope`);
        break;
      case 'scope':
        checkScope(new Names(), statement.statements, report);
        break;
      default:
        break;
    }
  }
}

/** Checks module level and all bodies that were parsed. */
export function checkModuleNames(items: readonly ModuleItem[], report: ReportDuplicate): void {
  const variables = new Names();
  const functions = new Map<string, FunctionDeclaration>();
  const defined = new Set<string>();
  for (const item of items) {
    if (item.kind === 'variable') {
      if (item.linking === 'extern') continue;
      addVariable(variables, item, report);
    } else if (item.kind === 'function') {
      const earlier = functions.get(item.name);
      if (earlier === undefined) {
        if (!variables.add(item.name)) report(item.offset, `'${item.name}' is defined as variable and as function`);
        functions.set(item.name, item);
      } else if (conflicts(earlier, item)) {
        report(item.offset, `'${item.name}' is declared twice with different parameters`);
      }
      if (item.bodySpan !== undefined) {
        if (defined.has(item.name)) report(item.offset, `the function '${item.name}' is defined twice`);
        defined.add(item.name);
      }
      if (item.body !== undefined) checkBodyNames(item, item.body, report);
    }
  }
}

function conflicts(a: FunctionDeclaration, b: FunctionDeclaration): boolean {
  return a.entry !== b.entry || a.parameters.length !== b.parameters.length || a.returns.length !== b.returns.length;
}
