/**
 * Module level (PTX ISA 4.1, 11.1, 11.2.3, 11.5) and the one parser instance of the process. One instance, because
 * further instances of a chevrotain parser run several times slower; it is never re-entered.
 */
import type { AliasDirective, ModuleItem, SectionDirective, Statement } from './ast.js';
import type { IToken } from './chevrotain.js';
import { AT_MODULE_LEVEL } from './expectations.js';
import { GrammarError } from './grammar-expressions.js';
import { dwarfLine, StatementGrammar } from './grammar-statements.js';
import { MAX_MODULE_ITEMS } from './limits.js';
import * as t from './tokens.js';

/** The whole grammar. */
class PtxGrammar extends StatementGrammar {
  private items: ModuleItem[] = [];

  constructor() {
    super();
    this.performSelfAnalysis();
  }

  /** Items at module level, added to the list given to {@link beginText}. */
  moduleItems = this.RULE('moduleItems', (): void => {
    this.MANY(() => {
      this.statementStart = this.LA(1);
      const item = this.SUBRULE(this.moduleItem);
      if (this.RECORDING_PHASE) return;
      if (this.items.push(item) > MAX_MODULE_ITEMS) {
        throw new GrammarError('GCR2005', `the module has more than ${MAX_MODULE_ITEMS} items`, this.LA(1));
      }
    });
  });

  private moduleItem = this.RULE('moduleItem', (): ModuleItem => {
    return this.OR<ModuleItem>({
      DEF: [
        { ALT: () => this.SUBRULE(this.version) },
        { ALT: () => this.SUBRULE(this.target) },
        {
          ALT: () => {
            const word = this.CONSUME(t.AddressSize);
            return { kind: 'addressSize', offset: word.startOffset, bits: this.numberOf(this.CONSUME(t.Int)) };
          },
        },
        { ALT: () => this.SUBRULE(this.file) },
        { ALT: () => this.SUBRULE(this.loc) },
        { ALT: () => this.SUBRULE(this.section) },
        { ALT: () => dwarfLine(this.CONSUME(t.DwarfLine)) },
        { ALT: () => this.SUBRULE(this.pragma) },
        { ALT: () => this.SUBRULE(this.alias) },
        {
          ALT: () => {
            const linking = this.OPTION(() => this.CONSUME(t.LinkingWord));
            return this.OR2<ModuleItem>([
              { ALT: () => this.SUBRULE(this.variable, { ARGS: [linking] }) },
              { ALT: () => this.SUBRULE(this.functionDeclaration, { ARGS: [linking] }) },
            ]);
          },
        },
        {
          ALT: () => {
            const label = this.CONSUME(t.Word);
            if (this.LA(1).tokenType !== t.Colon && !this.RECORDING_PHASE) {
              throw new GrammarError('GCR2002', '', label, [AT_MODULE_LEVEL]);
            }
            this.CONSUME(t.Colon);
            return this.SUBRULE(this.callPrototype, { ARGS: [label] }) as ModuleItem;
          },
        },
        { ALT: () => this.SUBRULE(this.unknownDirective) as ModuleItem },
      ],
      ERR_MSG: AT_MODULE_LEVEL,
    });
  });

  /** PTX ISA 11.1.1. */
  private version = this.RULE('version', (): ModuleItem => {
    const word = this.CONSUME(t.Version);
    const number = this.CONSUME(t.NumberToken);
    if (!this.RECORDING_PHASE && !/^\d{1,6}(\.\d{1,6})?$/.test(number.image)) {
      throw new GrammarError('GCR2002', '', number, ["a version such as '8.0'"]);
    }
    const [major = '0', minor = '0'] = number.image.split('.');
    return { kind: 'version', offset: word.startOffset, major: Number(major), minor: Number(minor) };
  });

  /** PTX ISA 11.1.2. */
  private target = this.RULE('target', (): ModuleItem => {
    const word = this.CONSUME(t.Target);
    const targets: string[] = [];
    this.AT_LEAST_ONE_SEP({ SEP: t.Comma, DEF: () => targets.push(this.CONSUME(t.Word).image) });
    return { kind: 'target', offset: word.startOffset, targets };
  });

  /** PTX ISA 11.5.2. */
  private section = this.RULE('section', (): SectionDirective => {
    const word = this.CONSUME(t.Section);
    const name = this.CONSUME(t.AnyName);
    const content = this.CONSUME(t.SectionBlock).payload as string;
    return { kind: 'section', offset: word.startOffset, name: name.image, content };
  });

  /** PTX ISA 11.2.3. */
  private alias = this.RULE('alias', (): AliasDirective => {
    const word = this.CONSUME(t.Alias);
    const name = this.CONSUME1(t.Word).image;
    this.CONSUME(t.Comma);
    const target = this.CONSUME2(t.Word).image;
    this.CONSUME(t.Semicolon);
    return { kind: 'alias', offset: word.startOffset, name, target };
  });

  // ---- driving: see parse.ts ----

  /** Items found from now on are added to `items`. */
  beginText(items: ModuleItem[]): void {
    this.items = items;
    this.statementCount = 0;
  }

  /** Statements found from now on belong to a new body whose brace stands at `offset`. */
  beginBody(offset: number, closed: boolean): Statement[] {
    this.bodyClosed = closed;
    const statements: Statement[] = [];
    this.scopes = [{ offset, statements }];
    return statements;
  }

  /** Scopes of the current body that are still open, the body itself not counted. */
  get openScopes(): number {
    return this.scopes.length - 1;
  }

  /** Closes all scopes that the text left open. */
  endBody(): void {
    while (this.scopes.length > 1) {
      const { offset, statements } = this.scopes.pop()!;
      this.add({ kind: 'scope', offset, statements });
    }
  }

  /** Leaves a gap in the current body: text that could not be parsed. */
  addGap(offset: number, text: string): void {
    this.add({ kind: 'unknownDirective', offset, text });
  }

  beginInitializer(): void {
    this.resetInitializer();
  }

  /** Sets the tokens to parse, from the one at `index` on, and forgets the state of a failed run. */
  feed(tokens: IToken[], index: number): void {
    this.input = tokens;
    this.resetDepth();
    this.importLexerState(index - 1);
  }

  /** First token of the statement that was being parsed last. */
  get currentStatement(): IToken | undefined {
    return this.statementStart;
  }

  declare protected importLexerState: (index: number) => void;
}

/** The parser of the process. */
export const grammar = new PtxGrammar();
