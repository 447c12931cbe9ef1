/**
 * Syntax tree to text. `print(parse(x))` parses to the same tree, offsets (and lengths of functions) apart; layout and
 * comments are not kept. Used by tests as the inverse of the parser, and to show statements to people.
 */
import type {
  BinaryOperator,
  Declarator,
  Expression,
  FunctionDeclaration,
  FunctionDirective,
  Initializer,
  Linking,
  Module,
  ModuleItem,
  Operand,
  Parameter,
  Statement,
  VariableDeclaration,
} from './ast.js';

/** Binding strength, as in the grammar; a conditional binds weakest, a unary operator strongest. */
const PRECEDENCE: Readonly<Record<BinaryOperator, number>> = {
  '*': 10,
  '/': 10,
  '%': 10,
  '+': 9,
  '-': 9,
  '<<': 8,
  '>>': 8,
  '<': 7,
  '>': 7,
  '<=': 7,
  '>=': 7,
  '==': 6,
  '!=': 6,
  '&': 5,
  '^': 4,
  '|': 3,
  '&&': 2,
  '||': 1,
};
const UNARY_PRECEDENCE = 11;

/** The text of a module, a line a statement. */
export function print(module: Module): string {
  return module.items.map((item) => `${printItem(item)}\n`).join('');
}

/** The text of one item of a module: a function with its body, a variable, a directive. */
export function printItem(item: ModuleItem): string {
  switch (item.kind) {
    case 'version':
      return `.version ${item.major}.${item.minor}`;
    case 'target':
      return `.target ${item.targets.join(', ')}`;
    case 'addressSize':
      return `.address_size ${item.bits}`;
    case 'function':
      return printFunction(item);
    case 'alias':
      return `.alias ${item.name}, ${item.target};`;
    default:
      return printStatement(item);
  }
}

/** The text of one statement of a body, indented by `indent`; a scope takes several lines. */
export function printStatement(statement: Statement, indent = ''): string {
  return indent + statementText(statement, indent);
}

function statementText(statement: Statement, indent: string): string {
  switch (statement.kind) {
    case 'instruction': {
      const { guard, mnemonic, operands } = statement;
      const prefix = guard === undefined ? '' : `@${guard.negated ? '!' : ''}${guard.register} `;
      return `${prefix}${mnemonic.text}${operands.length > 0 ? ' ' : ''}${operands.map(printOperand).join(', ')};`;
    }
    case 'label':
      return `${statement.name}:`;
    case 'scope':
      return `{\n${printStatements(statement.statements, `${indent}  `)}${indent}}`;
    case 'variable':
      return printVariable(statement);
    case 'loc': {
      const attributes = statement.attributes === undefined ? '' : `, ${statement.attributes}`;
      return `.loc ${statement.file} ${statement.line} ${statement.column}${attributes}`;
    }
    case 'file': {
      const { timestamp, size } = statement;
      const numbers = [timestamp, size].filter((number) => number !== undefined).map((number) => `, ${number}`);
      return `.file ${statement.index} "${statement.name}"${numbers.join('')}`;
    }
    case 'pragma':
      return `.pragma ${statement.strings.map((text) => `"${text}"`).join(', ')};`;
    case 'section':
      return statement.name === '@@DWARF'
        ? `@@DWARF ${statement.content}`
        : `.section ${statement.name} {${statement.content}}`;
    case 'branchTargets':
      return `${statement.name}: .branchtargets ${statement.labels.join(', ')};`;
    case 'callTargets':
      return `${statement.name}: .calltargets ${statement.functions.join(', ')};`;
    case 'callPrototype': {
      const returns = statement.returns.length > 0 ? `${printParameters(statement.returns, false)} ` : '';
      const parameters = printParameters(statement.parameters, statement.variadic);
      return `${statement.name}: .callprototype ${returns}_ ${parameters}${printDirectives(statement.directives)};`;
    }
    case 'unknownDirective':
      return `${statement.text};`;
  }
}

function printStatements(statements: readonly Statement[], indent: string): string {
  return statements.map((statement) => `${printStatement(statement, indent)}\n`).join('');
}

function printLinking(linking: Linking): string {
  return linking === 'none' ? '' : `.${linking} `;
}

/** The text of a function: its body, `;` without one, and `{}` with its body skipped. */
export function printFunction(fn: FunctionDeclaration): string {
  const attributes =
    fn.attributes.length > 0 ? `.attribute(${fn.attributes.map((text) => `.${text}`).join(', ')}) ` : '';
  const returns = fn.returns.length > 0 ? `${printParameters(fn.returns, false)} ` : '';
  const head =
    `${printLinking(fn.linking)}.${fn.entry ? 'entry' : 'func'} ${attributes}${returns}${fn.name}` +
    `${printParameters(fn.parameters, fn.variadic)}${printDirectives(fn.directives, fn.bodySpan !== undefined)}`;
  if (fn.bodySpan === undefined) return `${head};`;
  return `${head}\n{\n${printStatements(fn.body ?? [], '  ')}}`;
}

function printDirectives(directives: readonly FunctionDirective[], pragmaEnds = false): string {
  return directives
    .map(({ name, arguments: values }) => {
      const list = values.length > 0 ? ` ${values.map((value) => printExpression(value)).join(', ')}` : '';
      return ` .${name}${list}${name === 'pragma' && pragmaEnds ? ';' : ''}`;
    })
    .join('');
}

function printParameters(parameters: readonly Parameter[], variadic: boolean): string {
  const list = parameters.map((parameter) => {
    const { align, vector, attributes, pointer } = parameter;
    return [
      `.${parameter.space}`,
      align === undefined ? '' : `.align ${align}`,
      vector === undefined ? '' : `.v${vector}`,
      attributes.map((text) => `.${text}`).join(' '),
      `.${parameter.type}`,
      pointer === undefined ? '' : '.ptr',
      pointer?.space === undefined ? '' : `.${pointer.space}`,
      pointer?.align === undefined ? '' : `.align ${pointer.align}`,
      parameter.name + printDimensions(parameter.dimensions),
    ]
      .filter((part) => part !== '')
      .join(' ');
  });
  return `(${[...list, ...(variadic ? ['...'] : [])].join(', ')})`;
}

function printVariable(variable: VariableDeclaration): string {
  const { linking, space, align, vector, attributes, modifiers, type } = variable;
  const bank = modifiers.filter((text) => text.startsWith('['));
  const words = modifiers.filter((text) => !text.startsWith('['));
  const head = [
    `${printLinking(linking)}.${space}${bank.join('')}`,
    align === undefined ? '' : `.align ${align}`,
    attributes.length === 0 ? '' : `.attribute(${attributes.map((text) => `.${text}`).join(', ')})`,
    vector === undefined ? '' : `.v${vector}`,
    ...(words[0] === 'ptr' ? [] : words.map((text) => `.${text}`)),
    `.${type}`,
    ...(words[0] === 'ptr' ? words.map((text) => `.${text}`) : []),
  ].filter((part) => part !== '');
  return `${head.join(' ')} ${variable.declarators.map(printDeclarator).join(', ')};`;
}

function printDeclarator({ name, count, dimensions, initializer }: Declarator): string {
  const range = count === undefined ? '' : `<${count}>`;
  const value = initializer === undefined ? '' : ` = ${printInitializer(initializer)}`;
  return `${name}${range}${printDimensions(dimensions)}${value}`;
}

function printDimensions(dimensions: readonly (Expression | null)[]): string {
  return dimensions.map((size) => `[${size === null ? '' : printExpression(size)}]`).join('');
}

function printInitializer(initializer: Initializer): string {
  if (initializer.kind !== 'initializerList') return printExpression(initializer);
  const { elements, fields } = initializer;
  const field = (index: number): string => (fields?.[index] ? `${fields[index]} = ` : '');
  return `{${elements.map((element, index) => field(index) + printInitializer(element)).join(', ')}}`;
}

/** The text of one operand. */
export function printOperand(operand: Operand): string {
  switch (operand.kind) {
    case 'address': {
      const { base, displacement, rest, qualifiers } = operand;
      const sum = printExpression(base) + (displacement === undefined ? '' : `+${printExpression(displacement)}`);
      const words = (qualifiers ?? []).map((word) => `.${word}`).join('');
      return `[${[sum, ...rest.map(printOperand)].join(', ')}]${words}`;
    }
    case 'vector':
      return `{${operand.elements.map(printOperand).join(', ')}}`;
    case 'list':
      return `(${operand.elements.map(printOperand).join(', ')})`;
    case 'pair':
      return `${printOperand(operand.first)}|${printOperand(operand.second)}`;
    default:
      return printExpression(operand);
  }
}

/** The text of an expression, in parentheses where it binds weaker than `minimum`. */
export function printExpression(expression: Expression, minimum = 0): string {
  switch (expression.kind) {
    case 'name':
      return expression.name;
    case 'component':
      return `${expression.name}.${expression.component}`;
    case 'element':
      return `${expression.name}[${printExpression(expression.index)}]`;
    case 'integer':
      return `${expression.value}${expression.unsigned ? 'U' : ''}`;
    case 'float':
      return expression.text;
    case 'string':
      return `"${expression.text}"`;
    case 'generic':
      return `generic(${printExpression(expression.operand)})`;
    case 'mask':
      return `${expression.mask}(${printExpression(expression.operand)})`;
    case 'unary':
      return `${expression.operator}${printExpression(expression.operand, UNARY_PRECEDENCE)}`;
    case 'cast':
      return `(.${expression.type}) ${printExpression(expression.operand, UNARY_PRECEDENCE)}`;
    case 'binary': {
      const precedence = PRECEDENCE[expression.operator];
      const left = printExpression(expression.left, precedence);
      const right = printExpression(expression.right, precedence + 1);
      return parenthesised(`${left} ${expression.operator} ${right}`, precedence < minimum);
    }
    case 'conditional': {
      const condition = printExpression(expression.condition, 1);
      const then = printExpression(expression.whenTrue);
      const otherwise = printExpression(expression.whenFalse);
      return parenthesised(`${condition} ? ${then} : ${otherwise}`, minimum > 0);
    }
  }
}

function parenthesised(text: string, needed: boolean): string {
  return needed ? `(${text})` : text;
}
