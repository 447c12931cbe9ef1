/**
 * Statements of a function body (PTX ISA 4.3, 11.3, 11.4.7, 11.5). Any word is an opcode: `[@guard] word operands ;`.
 *
 * Scopes are kept on an explicit stack, not on the call stack: a body can be parsed in slices of its text, and after a
 * syntax error parsing goes on in the scope where the error stood.
 */
import type {
  Expression,
  FileDirective,
  Instruction,
  LocDirective,
  Mnemonic,
  Operand,
  PragmaDirective,
  SectionDirective,
  Statement,
} from './ast.js';
import type { IToken, ParserMethod } from './chevrotain.js';
import { IN_BODY } from './expectations.js';
import { DeclarationGrammar } from './grammar-declarations.js';
import { GrammarError } from './grammar-expressions.js';
import { MAX_STATEMENTS } from './limits.js';
import { internMnemonic } from './mnemonic.js';
import * as t from './tokens.js';

interface OpenScope {
  readonly offset: number;
  readonly statements: Statement[];
}

/** Rules for function bodies. */
export class StatementGrammar extends DeclarationGrammar {
  /** Scopes that are open; the first is the body itself. */
  protected scopes: OpenScope[] = [];
  /** Whether the text holds the closing brace of the body. */
  protected bodyClosed = true;
  /** Statements added since parsing of a text began. */
  protected statementCount = 0;
  /** First token of the statement being parsed; where a syntax error leaves a gap, the gap begins here. */
  protected statementStart: IToken | undefined;

  /** Goes on with the body on the scope stack, from where the last slice or error ended. */
  statements = this.RULE('statements', (): void => {
    this.MANY(() => {
      this.statementStart = this.LA(1);
      this.SUBRULE(this.statement);
      if (this.statementCount > MAX_STATEMENTS) {
        throw new GrammarError('GCR2005', `the bodies have more than ${MAX_STATEMENTS} statements`, this.LA(1));
      }
    });
  });

  private statement = this.RULE('statement', (): void => {
    this.OR({
      DEF: [
        { ALT: () => this.SUBRULE(this.wordStatement) },
        { ALT: () => this.SUBRULE(this.guarded) },
        {
          ALT: () => {
            const open = this.CONSUME(t.LBrace);
            this.ACTION(() => this.scopes.push({ offset: open.startOffset, statements: [] }));
          },
        },
        {
          ALT: () => {
            const close = this.CONSUME(t.RBrace);
            this.ACTION(() => this.closeScope(close));
          },
        },
        {
          ALT: () => {
            const linking = this.OPTION(() => this.CONSUME(t.LinkingWord));
            this.add(this.SUBRULE(this.variable, { ARGS: [linking] }));
          },
        },
        { ALT: () => this.add(this.SUBRULE(this.loc)) },
        { ALT: () => this.add(this.SUBRULE(this.file)) },
        { ALT: () => this.add(this.SUBRULE(this.pragma)) },
        { ALT: () => this.add(this.SUBRULE(this.inlineSection)) },
        { ALT: () => this.add(dwarfLine(this.CONSUME(t.DwarfLine))) },
        { ALT: () => this.add(this.SUBRULE(this.unknownDirective)) },
      ],
      ERR_MSG: IN_BODY,
    });
  });

  protected add(statement: Statement): void {
    if (this.RECORDING_PHASE) return;
    this.scopes[this.scopes.length - 1]!.statements.push(statement);
    this.statementCount++;
  }

  private closeScope(close: IToken): void {
    if (this.scopes.length < 2) {
      // In a body whose end is missing, this brace closes what the missing one should have.
      if (!this.bodyClosed) return;
      throw new GrammarError('GCR2002', '', close, ['an instruction', 'a directive', 'a label']);
    }
    const { offset, statements } = this.scopes.pop()!;
    this.add({ kind: 'scope', offset, statements });
  }

  // ---- 4.3.2: instructions ----

  /** A statement that begins with a word: a label, or an instruction without guard. */
  private wordStatement = this.RULE('wordStatement', (): void => {
    const word = this.CONSUME(t.Word);
    this.OR({
      DEF: [
        { ALT: () => this.SUBRULE(this.labelled, { ARGS: [word] }) },
        { ALT: () => this.SUBRULE(this.instruction, { ARGS: [word] }) },
      ],
      ERR_MSG: "an operand\n';'\n':'",
    });
  });

  /** `@p instruction`, `@!p instruction`. */
  private guarded = this.RULE('guarded', (): void => {
    const at = this.CONSUME(t.At);
    const negated = this.OPTION(() => this.CONSUME(t.Not)) !== undefined;
    const register = this.CONSUME1(t.Word, { ERR_MSG: 'a predicate register' });
    const word = this.CONSUME2(t.Word, { ERR_MSG: 'an instruction' });
    this.SUBRULE(this.instruction, { ARGS: [word, at, register, negated] });
  });

  /** What follows the opcode. */
  private instruction: ParserMethod<[IToken, IToken?, IToken?, boolean?], void> = this.RULE(
    'instruction',
    (word: IToken, at?: IToken, register?: IToken, negated = false): void => {
      let spelling = word === undefined ? '' : word.image;
      // A modifier may be set off from the opcode by white space.
      this.MANY(() => {
        spelling += this.CONSUME(t.Dotted).image;
      });
      const operands: Operand[] = [];
      if (this.RECORDING_PHASE || this.LA(1).tokenType !== t.Semicolon) {
        const inCall = spelling.startsWith('call') && (spelling.length === 4 || spelling[4] === '.');
        this.MANY_SEP({ SEP: t.Comma, DEF: () => operands.push(this.SUBRULE(this.operand, { ARGS: [inCall] })) });
      }
      this.CONSUME(t.Semicolon, { ERR_MSG: "','\n';'" });
      if (this.RECORDING_PHASE) return;
      const mnemonic: Mnemonic = internMnemonic(spelling);
      const instruction: Instruction =
        register === undefined
          ? { kind: 'instruction', offset: word.startOffset, mnemonic, operands }
          : {
              kind: 'instruction',
              offset: at!.startOffset,
              guard: { register: register.image, negated },
              mnemonic,
              operands,
            };
      this.add(instruction);
    },
  );

  // ---- 11.3: labels and what they may stand on ----

  private labelled: ParserMethod<[IToken], void> = this.RULE('labelled', (word: IToken): void => {
    this.CONSUME(t.Colon);
    if (!this.RECORDING_PHASE && word.image.includes('.')) {
      throw new GrammarError('GCR2002', `'${word.image}' cannot be a label: a name has no dot`, word, ['a name']);
    }
    const label = { offset: word?.startOffset ?? 0, name: word?.image ?? '' };
    const targets = this.OPTION(() =>
      this.OR<Statement>([
        {
          ALT: () => {
            this.CONSUME(t.BranchTargetsWord);
            return { kind: 'branchTargets', ...label, labels: this.SUBRULE1(this.targetNames) };
          },
        },
        {
          ALT: () => {
            this.CONSUME(t.CallTargetsWord);
            return { kind: 'callTargets', ...label, functions: this.SUBRULE2(this.targetNames) };
          },
        },
        { ALT: () => this.SUBRULE(this.callPrototype, { ARGS: [word] }) },
      ]),
    );
    this.add(targets ?? { kind: 'label', ...label });
  });

  /** Names, or ranges of names `L<4>` (PTX ISA 11.3.1), up to the semicolon. */
  private targetNames = this.RULE('targetNames', (): string[] => {
    const names: string[] = [];
    this.AT_LEAST_ONE_SEP({
      SEP: t.Comma,
      DEF: () => {
        let name = this.CONSUME(t.Word).image;
        this.OPTION(() => {
          this.CONSUME(t.Less);
          name += `<${this.CONSUME(t.Int).image}>`;
          this.CONSUME(t.Greater);
        });
        names.push(name);
      },
    });
    this.CONSUME(t.Semicolon);
    return names;
  });

  /** PTX ISA 11.3.3, after the label and its colon. */
  protected callPrototype: ParserMethod<[IToken], Statement> = this.RULE(
    'callPrototype',
    (label: IToken): Statement => {
      this.CONSUME(t.CallPrototypeWord);
      const returns = this.OPTION(() => this.SUBRULE1(this.parameterList));
      this.CONSUME(t.Word);
      const parameters = this.OPTION2(() => this.SUBRULE2(this.parameterList));
      const directives = this.SUBRULE(this.functionDirectives);
      this.CONSUME(t.Semicolon);
      return {
        kind: 'callPrototype',
        offset: label?.startOffset ?? 0,
        name: label?.image ?? '',
        returns: returns?.parameters ?? [],
        parameters: parameters?.parameters ?? [],
        variadic: parameters?.variadic ?? false,
        directives,
      };
    },
  );

  // ---- 11.4.7, 11.5: pragmas and debugging directives ----

  protected pragma = this.RULE('pragma', (): PragmaDirective => {
    const word = this.CONSUME(t.Pragma);
    const strings: string[] = [];
    this.AT_LEAST_ONE_SEP({ SEP: t.Comma, DEF: () => strings.push(this.SUBRULE(this.string).text) });
    this.CONSUME(t.Semicolon);
    return { kind: 'pragma', offset: word.startOffset, strings };
  });

  /** `.file 1 "name"` and `.file 1 "name", time, size`: ends with its last token, not with the line. */
  protected file = this.RULE('file', (): FileDirective => {
    const word = this.CONSUME(t.File);
    const index = this.numberOf(this.CONSUME1(t.Int));
    const name = this.SUBRULE(this.string).text;
    const numbers: bigint[] = [];
    this.MANY(() => {
      this.CONSUME(t.Comma);
      numbers.push(this.integerOf(this.CONSUME2(t.Int)));
    });
    const [timestamp, size] = numbers;
    return {
      kind: 'file',
      offset: word.startOffset,
      index,
      name,
      ...(timestamp === undefined ? undefined : { timestamp }),
      ...(size === undefined ? undefined : { size }),
    };
  });

  /** `.loc file line column` with the attributes of PTX ISA 11.5.4: ends with its last token, not with the line. */
  protected loc = this.RULE('loc', (): LocDirective => {
    const word = this.CONSUME(t.Loc);
    const file = this.numberOf(this.CONSUME1(t.Int));
    const line = this.numberOf(this.CONSUME2(t.Int));
    const column = this.numberOf(this.CONSUME3(t.Int));
    let attributes = '';
    this.MANY(() => {
      this.CONSUME(t.Comma);
      const parts = [this.CONSUME(t.Word).image];
      this.OR([
        // function_name label {+ immediate}
        {
          ALT: () => {
            let text = this.CONSUME(t.AnyName).image;
            this.OPTION(() => {
              this.CONSUME(t.Plus);
              text += `+${this.CONSUME4(t.Int).image}`;
            });
            parts.push(text);
          },
        },
        // inlined_at file line column
        { ALT: () => this.AT_LEAST_ONE(() => parts.push(this.CONSUME5(t.Int).image)) },
      ]);
      attributes += `${attributes === '' ? '' : ', '}${parts.join(' ')}`;
    });
    return {
      kind: 'loc',
      offset: word.startOffset,
      file,
      line,
      column,
      ...(attributes === '' ? undefined : { attributes }),
    };
  });

  /** A section inside a body: its content is put together from its tokens. */
  private inlineSection = this.RULE('inlineSection', (): SectionDirective => {
    const word = this.CONSUME(t.Section);
    const name = this.CONSUME(t.AnyName);
    this.CONSUME(t.LBrace);
    const parts: string[] = [];
    while (!this.RECORDING_PHASE && this.LA(1).tokenType !== t.RBrace && this.LA(1).tokenType.name !== 'EOF') {
      parts.push(this.take().image);
    }
    this.CONSUME(t.RBrace);
    return { kind: 'section', offset: word.startOffset, name: name.image, content: parts.join(' ') };
  });

  /** A directive without a rule: carried as text up to its semicolon. */
  protected unknownDirective = this.RULE('unknownDirective', (): Statement => {
    const word = this.CONSUME(t.DotWord);
    const parts = [word?.image ?? ''];
    while (!this.RECORDING_PHASE && !this.endsDirective(this.LA(1))) parts.push(this.take().image);
    this.CONSUME(t.Semicolon);
    return { kind: 'unknownDirective', offset: word.startOffset, text: parts.join(' ') };
  });

  private endsDirective(token: IToken): boolean {
    const type = token.tokenType;
    return type === t.Semicolon || type === t.LBrace || type === t.RBrace || type.name === 'EOF';
  }
}

/** The old form of debugging data (PTX ISA 11.5.1). */
export function dwarfLine(token: IToken): SectionDirective {
  const content = token.image.slice('@@DWARF'.length).trim();
  return { kind: 'section', offset: token.startOffset, name: '@@DWARF', content };
}

export type { Expression };
