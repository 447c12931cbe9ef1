/**
 * Instructions that touch memory (PTX ISA 9.7.9 to 9.7.11, 9.7.13, 9.7.14), each as one access that says what is read or
 * written: kind, space, address, bytes or length, guard. Where the written place cannot be described (tensor maps,
 * surfaces, multicast), the access carries the reason instead. Sizes err upwards, never downwards.
 */
import type { InstructionForm, Operand } from '../../ptx/index.js';
import type { Access, ElementType, MemorySpace, ReadKind, Transfer, ValueId, WriteKind } from '../program.js';
import { act } from './actions.js';
import { MEMORY_FORMS, type MemoryForm } from './effects.js';
import type { Frame, View } from './frame.js';
import type { Lowering } from './lower-kernel.js';

const MEMORY_FORM_SET: ReadonlySet<string> = new Set(MEMORY_FORMS);

/** Bytes of a tensor map (PTX ISA 5.5.8). */
const TENSOR_MAP_BYTES = 128;

/** Extra parts of an access beside kind, space and place. */
type Details = Partial<
  Pick<
    Access,
    | 'bytes'
    | 'length'
    | 'rows'
    | 'masked'
    | 'coordinates'
    | 'tensorMode'
    | 'values'
    | 'elements'
    | 'atomic'
    | 'elementType'
    | 'transfer'
    | 'reason'
    | 'detail'
  >
>;

/** Lowers a form that touches memory; false when it is not one. */
export function lowerMemory(lowering: Lowering, frame: Frame, view: View, form: InstructionForm): boolean {
  if (!MEMORY_FORM_SET.has(form.name)) return false;
  new MemoryLowering(lowering, frame, view).lower(form.name as MemoryForm, form);
  return true;
}

class MemoryLowering {
  constructor(
    readonly lowering: Lowering,
    readonly frame: Frame,
    readonly view: View,
  ) {}

  lower(name: MemoryForm, form: InstructionForm): void {
    const { has } = this.view.m;
    switch (name) {
      case 'ld':
      case 'ld.global.nc':
      case 'ldu':
        return this.#load();
      case 'st':
        return this.#store('store');
      case 'st.async':
        return this.#store('asyncStore');
      case 'red.async':
        return this.#store('asyncReduction');
      case 'red':
        return this.#store('reduction');
      case 'multimem.ld_reduce':
        this.#read(1, 'multicastLoad', this.#space(), { reason: 'GCR4013' });
        return this.lowering.opaqueResults(this.frame, this.view, { form, node: this.view.node });
      case 'multimem.st':
        return this.#write(0, 'multicastStore', this.#space(), { reason: 'GCR4013' });
      case 'multimem.red':
        return this.#write(0, 'multicastReduction', this.#space(), { reason: 'GCR4013' });
      case 'multimem.cp.async.bulk':
        return this.#write(0, 'multicastStore', 'global', { reason: 'GCR4013' });
      case 'multimem.cp.reduce.async.bulk':
        return this.#write(0, 'multicastReduction', 'global', { reason: 'GCR4013' });
      case 'atom':
        return this.#atomic();
      case 'st.bulk':
        return this.#write(0, 'bulkStore', has.has('shared::cta') ? 'shared' : 'generic', {
          ...this.#length(1),
          values: [this.frame.use(this.view, this.#operands[2], 64)],
        });
      case 'discard':
        return this.#write(0, 'discard', this.#space(), this.#length(1));
      case 'cp.async':
        return this.#copyAsync();
      case 'cp.async.bulk':
        return this.#copyBulk();
      case 'cp.reduce.async.bulk': {
        const details = { ...this.#length(2), transfer: this.#source(1), ...this.#arithmetic() };
        if (!this.#toShared()) return this.#write(0, 'bulkReduction', 'global', details);
        return this.#write(0, 'bulkReduction', 'shared', {
          ...details,
          transfer: { ...details.transfer, ...this.#signal(3) },
        });
      }
      case 'cp.async.bulk.tensor':
        return this.#toShared() ? this.#tensor(1, 'read') : this.#tensor(0, 'tensorStore');
      case 'cp.reduce.async.bulk.tensor':
        return this.#tensor(0, 'tensorReduction');
      case 'tensormap.replace':
        // A change of shared memory, which no template counts and no execution follows.
        if (has.has('shared::cta')) {
          act(this.frame, this.view, 'unmodelled');
          return;
        }
        return this.#write(0, 'tensorMapUpdate', this.#space(), { bytes: TENSOR_MAP_BYTES });
      case 'tensormap.cp_fenceproxy':
        return this.#write(0, 'tensorMapUpdate', 'global', { ...this.#length(2), transfer: this.#source(1) });
      case 'wmma.load.a':
      case 'wmma.load.b':
      case 'wmma.load.c':
        return this.#matrix(1, true, form);
      case 'wmma.store.d':
        return this.#matrix(0, false, form);
      case 'tex':
      case 'tld4':
        return this.#object('textureLoad', form);
      case 'suld.b':
        return this.#object('surfaceLoad', form);
      case 'sust.b':
      case 'sust.p':
        return this.#surfaceWrite('surfaceStore');
      case 'sured.b':
      case 'sured.p':
        return this.#surfaceWrite('surfaceReduction');
    }
  }

  get #operands(): readonly Operand[] {
    return this.view.node.operands;
  }

  /** The state space that the instruction names; `generic` without one. */
  #space(): MemorySpace {
    return this.view.m.spaces[0] ?? 'generic';
  }

  /** Whether an asynchronous copy's destination is shared memory: only then it signals a barrier by bytes. */
  #toShared(): boolean {
    const { has } = this.view.m;
    return has.has('mbarrier::complete_tx::bytes') && !has.has('bulk_group');
  }

  /** A size operand: bytes when constant, else a value. */
  #length(index: number): Details {
    const { builder } = this.frame;
    const length = this.frame.use(this.view, this.#operands[index], 64);
    const bits = builder.constantBits(length);
    if (bits !== undefined && bits < 1n << 40n) return { bytes: Number(bits) };
    return { bytes: 0, length };
  }

  /** A copy's source in shared memory of the block. */
  #source(index: number): Transfer {
    const { frame, view } = this;
    const address = frame.builder.forExecution(() => frame.address(view, this.#operands[index]).value);
    return { space: 'shared', address };
  }

  #signal(index: number): Transfer {
    const operand = this.#operands[index];
    const { frame, view } = this;
    return operand ? { signal: frame.builder.forExecution(() => frame.address(view, operand).value) } : {};
  }

  /** How the function of an atomic or reduction reads its elements. */
  #arithmetic(): Pick<Access, 'atomic' | 'elementType'> {
    const atomic = this.#function();
    const elementType = elementTypeOf(this.view);
    return { ...(atomic && { atomic }), ...(elementType && { elementType }) };
  }

  /** cp.async: destination, source, size, bytes of the source or whether to ignore it. */
  #copyAsync(): void {
    const { frame, view } = this;
    const fourth = view.m.has.has('L2::cache_hint') && this.#operands.length === 4 ? undefined : this.#operands[3];
    const register = fourth?.kind === 'name' ? view.scope.lookUp(fourth.name) : undefined;
    const ignores = register?.kind === 'register' && register.width === 1;
    const transfer = frame.builder.forExecution(
      (): Transfer => ({
        space: 'shared',
        address: frame.address(view, this.#operands[0]).value,
        ...(fourth && !ignores && { length: frame.use(view, fourth, 32) }),
        ...(fourth && ignores && { ignore: frame.use(view, fourth, 1) }),
      }),
    );
    this.#read(1, 'asyncLoad', 'global', { ...this.#length(2), transfer });
  }

  #copyBulk(): void {
    const { frame, view } = this;
    const { has } = view.m;
    const length = this.#length(2);
    if (!this.#toShared()) {
      const masked = has.has('cp_mask');
      const mask = masked ? this.#operands.at(-1) : undefined;
      const transfer = { ...this.#source(1), ...(mask && { mask: frame.use(view, mask, 16) }) };
      return this.#write(0, 'bulkCopy', 'global', { ...length, ...(masked && { masked }), transfer });
    }
    // A multicast goes to several blocks, `.ignore_oob` leaves bytes out: such copies are for templates only.
    const described = !has.has('multicast::cluster') && !has.has('ignore_oob');
    const signal = described ? this.#signal(3) : {};
    if (view.m.spaces.at(-1) === 'global') {
      const address = frame.builder.forExecution(() => frame.address(view, this.#operands[0]).value);
      const transfer: Transfer = { space: 'shared', address, ...signal };
      this.#read(1, 'bulkLoad', 'global', { ...length, ...(described && { transfer }) });
    } else this.#write(0, 'bulkCopy', 'shared', { ...length, transfer: { ...this.#source(1), ...signal } });
  }

  #access(space: MemorySpace, kinds: { writes?: WriteKind; reads?: ReadKind }, details: Details): Access {
    const { guard } = this.view;
    return {
      ...kinds,
      space,
      bytes: 0,
      ...details,
      ...(guard !== undefined && { guard }),
      origin: this.frame.origin(this.view),
    };
  }

  #write(index: number, writes: WriteKind, space: MemorySpace, details: Details): void {
    const address = this.frame.address(this.view, this.#operands[index]).value;
    this.frame.builder.value('access', 0, [address], { access: this.#access(space, { writes }, details) });
  }

  #read(index: number, reads: ReadKind, space: MemorySpace, details: Details): void {
    const address = this.frame.address(this.view, this.#operands[index]).value;
    this.frame.builder.value('access', 0, [address], { access: this.#access(space, { reads }, details) });
  }

  // --- loads and stores ---

  #load(): void {
    const { frame, view } = this;
    const { builder } = frame;
    const type = view.m.types[0];
    const destination = this.#operands[0];
    const address = frame.address(view, this.#operands[1]);
    const space = this.#space();
    if (!type) return frame.defineOpaque(view, destination, 'GCR3008');
    const elements = view.m.vector;
    const signed = type.as === 'signed';
    const parts: ValueId[] = [];
    const size = type.width / 8;
    if (address.parameter) {
      const { variable, offset } = address.parameter;
      for (let i = 0; i < elements; i++) parts.push(variable.read(builder, offset + i * size, type.width));
    } else {
      const parameter = this.#kernelParameter(address.value, space);
      if (parameter !== undefined) {
        for (let i = 0; i < elements; i++) {
          parts.push(builder.leaf('parameter', type.width, { immediate: parameter + BigInt(i * size) }));
        }
      } else {
        const access = this.#access(space, { reads: 'load' }, { bytes: size * elements, elements });
        const load = builder.value('load', type.width, [address.value], { access, space });
        if (elements === 1) parts.push(load);
        for (let i = 0; i < elements && elements > 1; i++) {
          parts.push(builder.value('element', type.width, [load], { immediate: BigInt(i) }));
        }
      }
    }
    this.#distribute(destination, parts, signed);
  }

  /** Offset into the parameter block when an address is a constant place in it. */
  #kernelParameter(address: ValueId, space: MemorySpace): bigint | undefined {
    if (space !== 'parameter' && space !== 'generic') return undefined;
    let value = this.frame.builder.get(address);
    let offset = 0n;
    if (value.op === 'add') {
      const constant = this.frame.builder.constantBits(value.args[1]!);
      if (constant === undefined) return undefined;
      offset = constant;
      value = this.frame.builder.get(value.args[0]!);
    }
    if (value.op === 'toGeneric' && value.space === 'parameter') value = this.frame.builder.get(value.args[0]!);
    else if (space === 'generic') return undefined;
    if (value.op !== 'parameterAddress') return undefined;
    const place = BigInt.asIntN(64, value.immediate! + offset);
    const total = this.lowering.parameterBytes;
    return place >= 0n && place < BigInt(total) ? place : undefined;
  }

  /** Gives a destination (one register or a vector) its parts. */
  #distribute(destination: Operand | undefined, parts: readonly ValueId[], signed: boolean): void {
    const { frame, view } = this;
    if (destination?.kind === 'vector' && destination.elements.length === parts.length) {
      for (const [index, element] of destination.elements.entries()) frame.define(view, element, parts[index]!, signed);
      return;
    }
    const symbol = destination?.kind === 'name' ? view.scope.lookUp(destination.name) : undefined;
    if (symbol?.kind === 'register' && symbol.components === parts.length && parts.length > 1) {
      const names = ['x', 'y', 'z', 'w'];
      parts.forEach((part, index) => {
        const component = names[index];
        if (!component || destination?.kind !== 'name') return;
        frame.define(
          view,
          { kind: 'component', name: destination.name, component, offset: destination.offset },
          part,
          signed,
        );
      });
      return;
    }
    if (parts.length === 1) frame.define(view, destination, parts[0]!, signed);
    else if (destination) frame.defineOpaque(view, destination, 'GCR3008');
  }

  /** The values a source operand holds: one, or those of a vector. */
  #sources(operand: Operand | undefined, width: number, elements: number): ValueId[] {
    const { frame, view } = this;
    if (operand?.kind === 'vector') return operand.elements.map((element) => frame.use(view, element, width));
    const symbol = operand?.kind === 'name' ? view.scope.lookUp(operand.name) : undefined;
    if (operand?.kind === 'name' && symbol?.kind === 'register' && symbol.components > 1) {
      return ['x', 'y', 'z', 'w']
        .slice(0, elements)
        .map((component) =>
          frame.use(view, { kind: 'component', name: operand.name, component, offset: operand.offset }, width),
        );
    }
    return [frame.use(view, operand, width)];
  }

  #store(writes: 'store' | 'asyncStore' | 'reduction' | 'asyncReduction'): void {
    const { frame, view } = this;
    const { builder } = frame;
    const type = view.m.types[0];
    const elements = view.m.vector;
    const size = (type?.width ?? 128) / 8;
    const address = frame.address(view, this.#operands[0]);
    const values = this.#sources(this.#operands[1], type?.width ?? 32, elements);
    if (address.parameter) {
      const { variable, offset } = address.parameter;
      values.forEach((value, index) => {
        variable.write(builder, offset + index * size, type?.width ?? 64, value, view.guard !== undefined);
      });
      return;
    }
    const bytes = size * Math.max(elements, values.length);
    const reduces = writes === 'reduction' || writes === 'asyncReduction';
    const signal = writes === 'asyncStore' || writes === 'asyncReduction' ? this.#signal(2) : undefined;
    const access = this.#access(
      this.#space(),
      { writes },
      {
        bytes,
        values,
        elements,
        ...(reduces && this.#arithmetic()),
        ...(signal?.signal !== undefined && { transfer: signal }),
      },
    );
    builder.value('access', 0, [address.value], { access });
  }

  #function(): string | undefined {
    return ['add', 'min', 'max', 'inc', 'dec', 'cas', 'exch', 'and', 'or', 'xor'].find((name) =>
      this.view.m.has.has(name),
    );
  }

  #atomic(): void {
    const { frame, view } = this;
    const { builder } = frame;
    const type = view.m.types[0];
    if (!type) return frame.defineOpaque(view, this.#operands[0], 'GCR3008');
    const elements = view.m.vector;
    const address = frame.address(view, this.#operands[1]).value;
    const atomic = this.#function();
    const sources = this.#operands.slice(2, atomic === 'cas' ? 4 : 3);
    const values = sources.flatMap((operand) => this.#sources(operand, type.width, elements));
    const kinds = { writes: 'atomic', reads: 'atomicLoad' } as const;
    const bytes = (type.width / 8) * elements;
    const access = this.#access(this.#space(), kinds, { bytes, values, elements, ...this.#arithmetic() });
    const result = builder.value('load', type.width, [address], { access, space: this.#space() });
    const parts =
      elements === 1
        ? [result]
        : Array.from({ length: elements }, (_, index) =>
            builder.value('element', type.width, [result], { immediate: BigInt(index) }),
          );
    this.#distribute(this.#operands[0], parts, type.as === 'signed');
  }

  // --- places described by an object: tensor maps, matrices, textures, surfaces ---

  #tensor(index: number, kind: 'read' | 'tensorStore' | 'tensorReduction'): void {
    const { frame, view } = this;
    const operand = this.#operands[index];
    const vector = operand?.kind === 'address' ? operand.rest[0] : undefined;
    const coordinates =
      vector?.kind === 'vector' ? vector.elements.map((element) => frame.use(view, element, 32, true)) : [];
    const { modifiers } = view.node.mnemonic;
    const tensorMode = modifiers.some((name) => name.startsWith('im2col'))
      ? 'im2col'
      : modifiers.some((name) => /^tile::./.test(name))
        ? 'rows'
        : 'tile';
    const details: Details = { coordinates, tensorMode, reason: 'GCR4005' };
    if (kind === 'read') this.#read(index, 'tensorLoad', 'global', details);
    else this.#write(index, kind, 'global', details);
  }

  /** A fragment of a matrix: rows of a fixed length, a stride apart (PTX ISA 9.7.14.4.3, 9.7.14.4.4). */
  #matrix(index: number, reads: boolean, form: InstructionForm): void {
    const { frame, view } = this;
    const { builder } = frame;
    const shape = view.node.mnemonic.modifiers.map((m) => /^m(\d+)n(\d+)k(\d+)$/.exec(m)).find((match) => match);
    const bits = matrixElementBits(view);
    const [m, n, k] = shape ? shape.slice(1).map(Number) : [];
    const columnMajor = view.m.has.has('col');
    if (m === undefined || n === undefined || k === undefined || bits === undefined) {
      if (!reads) this.lowering.unknown(frame, view, 'GCR3008', 'matrix shape is not known');
    } else {
      const which = form.name.slice('wmma.'.length).replace(/^(load|store)\./, '');
      const [rows, columns] = which === 'a' ? [m, k] : which === 'b' ? [k, n] : [m, n];
      const count = columnMajor ? columns : rows;
      const bytes = Math.ceil(((columnMajor ? rows : columns) * bits) / 8);
      const strideOperand = this.#operands[2];
      // The stride is in elements; without one, rows follow each other.
      const stride = strideOperand
        ? builder.value('shiftRightLogical', 64, [
            builder.value('mul', 64, [frame.use(view, strideOperand, 64), builder.constant(64, bits)]),
            builder.constant(32, 3),
          ])
        : builder.constant(64, bytes);
      const values = reads ? [] : this.#fragment(this.#operands[1]);
      const details: Details = { bytes, rows: { count, stride }, ...(values.length > 0 && { values }) };
      if (reads) this.#read(index, 'matrixLoad', this.#space(), details);
      else this.#write(index, 'matrixStore', this.#space(), details);
    }
    if (reads) frame.defineOpaque(view, this.#operands[0], 'GCR4008');
  }

  /** The registers of a fragment. */
  #fragment(operand: Operand | undefined): ValueId[] {
    if (operand?.kind !== 'vector') return [];
    return operand.elements.map((element) => {
      const symbol = element.kind === 'name' ? this.view.scope.lookUp(element.name) : undefined;
      return this.frame.use(this.view, element, symbol?.kind === 'register' ? symbol.width : 32);
    });
  }

  #object(reads: ReadKind, form: InstructionForm): void {
    this.#read(1, reads, 'global', { reason: 'GCR4006' });
    this.lowering.opaqueResults(this.frame, this.view, { form, node: this.view.node });
  }

  #surfaceWrite(writes: WriteKind): void {
    this.#write(0, writes, 'global', { reason: 'GCR4006' });
  }
}

/** How an atomic reads its elements, by the instruction's type; undefined for plain unsigned numbers. */
function elementTypeOf(view: View): ElementType | undefined {
  const type = view.m.types[0];
  if (!type) return undefined;
  const width = { width: type.width };
  switch (type.name) {
    case 'bf16':
      return { float: 'bf16', ...width };
    case 'bf16x2':
      return { float: 'bf16', lanes: 2, ...width };
    case 'f16x2':
      return { float: 'ieee', lanes: 2, ...width };
    default:
      if (type.as === 'float') return { float: 'ieee', ...width };
      return { ...(type.as === 'signed' && { signed: true }), ...width };
  }
}

/** Bits of one matrix element, by the instruction's only type. */
function matrixElementBits(view: View): number | undefined {
  const names: Readonly<Record<string, number>> = { s4: 4, u4: 4, b1: 1 };
  for (const modifier of view.node.mnemonic.modifiers) if (names[modifier] !== undefined) return names[modifier];
  return view.m.types[0]?.width;
}
