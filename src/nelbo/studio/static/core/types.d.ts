// The shapes that the modules of the studio pass to each other, for readers and for the type checker; no browser asks
// for this file.

export type Range = [number, number];
export type State = Record<string, any>;

// --- elements

export type AttributeValue = string | number | boolean | null | undefined;
export type Child = Node | string | null | undefined | Child[];
type Listeners<E> = {
  [N in keyof GlobalEventHandlersEventMap as `on${N}`]?: (
    event: GlobalEventHandlersEventMap[N] & { readonly currentTarget: E; readonly target: Node },
  ) => any;
};
/** `on...` are listeners; false and null are left out, but for the false of `aria-...`, which says something. */
export interface Attributes<E = Element> extends Listeners<E> {
  /** constant text of these modules, never a reader's */
  html?: string;
  [name: string]: AttributeValue | ((event: any) => any);
}

// --- pages, and what a host gives them

/** What core/pages.js holds of a page. */
export interface Facts {
  title: string;
  /** in the rail, where the title is too long */
  label?: string;
  /** path data of a 24 x 24 drawing */
  icon: string;
  /** what it needs: nothing, runs, or a studio around it */
  kind: "explorer" | "runs" | "studio";
  /** how many runs it shows at the most; a series of any length where it is not said */
  most?: number;
  /** its class in nelbo.widgets */
  widget?: string;
  /** the module of nelbo.studio that answers what the page asks */
  answers?: string;
  /** one sentence */
  claim: string;
  question?: string;
  /** the state; its types decide how text is read. The report's is the inspector's. */
  defaults?: State;
  /** [low, high] of a number, or all values of a choice */
  limits?: Record<string, any[]>;
}

/** What a page module exports as default. */
export interface Page extends Facts {
  name: string;
  /** whether it talks to Python as soon as it opens */
  live?: boolean;
  /** false: it shows nothing in nats or bits */
  unit?: boolean;
  /** whether a value of the state that is neither number nor text can be used */
  check?: Record<string, (value: any) => boolean>;
  /** keys and gestures of its own, and what they do */
  help?: [string, string][];
  /** Draw into the slots; what it returns removes it. */
  mount(slots: Slots): () => void;
}

/** The contract of anywidget: events are "change:NAME", "change" and "msg:custom". */
export interface Model {
  get(name: string): any;
  set(name: string, value: any): void;
  save_changes(): void;
  on(event: string, callback: (...rest: any[]) => void): void;
  off(event: string, callback?: (...rest: any[]) => void): void;
  send(content: object, callbacks?: any, buffers?: (ArrayBuffer | ArrayBufferView)[]): void;
}

/** A model that lives in this page. */
export interface LocalModel extends Model {
  receive(content: object, buffers: DataView[]): void;
}

export interface Answer {
  content: any;
  buffers: DataView[];
}

/** What a host can do besides. */
export interface Host {
  exportUrl?: (state: State) => string;
  /** the link to a state, which is given as text */
  address?: (state: string) => string;
  /** the address that another page may embed, and what the reader has to know about it */
  embedded?: (state: string) => { address: string; note: string };
  /** it stands in another page: only the figure and its numbers are shown */
  isEmbedded?: boolean;
  /** what was wrong with the state that the page opens with */
  said?: string[];
  studio?: boolean;
  notebook?: boolean;
  file?: boolean;
  /** open another page of the studio */
  go?: (page: string, state?: State) => void;
  /** the worksheet's strip below the page */
  strip?: (slots: Slots) => Promise<() => void>;
  /** set by the frame */
  say?: (text: string) => void;
}

export interface Preset {
  name: string;
  title?: string;
  state: State;
}

/** The places of a page's frame, and what the frame does for it. */
export interface Slots {
  page: Page;
  model: Model;
  host: Host;
  root: HTMLElement;
  figure: HTMLElement;
  numbers: HTMLElement;
  controls: HTMLElement;
  questions: HTMLElement;
  why: HTMLElement;
  code: HTMLElement;
  bar: HTMLElement;
  /** below the body, as wide as the page */
  wide: HTMLElement;
  /** Tell the reader in words; also read aloud. */
  say(text: string): void;
  /** Read aloud only. */
  announce(text: string): void;
  /** Take a state of this page, checked; what was wrong with it is said. */
  load(state: State | string): void;
  presets: Preset[];
  /** set where the page has a place of its own for saved views */
  hasViews?: boolean;
  presetIndex?: number;
  /** of a page that draws from its state: do it once more */
  repaint?: () => void;
  /** what the KL explorer says of what is under the pointer, and when nothing is */
  reading?: HTMLElement;
  idle?: string;
}

// --- the worksheet

/** How a change of the state came about. "pick": a click on something in a figure; "button" also stands for links. */
export type Gesture = "handle" | "slider" | "field" | "control" | "pick" | "button";

/** "predict": nothing is predicted yet; "open": predicted, and not answered. */
export type Phase = "predict" | "open" | "done";

/** A run that a step looks at: the demo's, or one of its kind. */
export type Role = "autoencoder" | "vae" | "heavy";

/** A step of the worksheet. */
export interface Step {
  /** under which the browser keeps what was done in it */
  id: string;
  part: string;
  page: string;
  ask: string;
  /** what can be predicted, and the position of what holds */
  options: string[];
  right: number;
  goal: string;
  /** what the page opens with, where that is not its defaults */
  start?: State;
  /** the runs it opens with; `start` is then of their page */
  runs?: { run: Role; other: Role };
  /** what the goal asks of these runs; null where they are not what the step needs */
  look?: (model: Model, state: State) => Promise<any>;
  /** gestures that count besides those of the hand */
  also?: Gesture[];
  /** `found` is what `look` found */
  met: (state: State, found?: any) => boolean;
  /** what was reached, for the record */
  shown: (state: State, found?: any) => string;
  reveal: string;
}

/** What was done in a step. */
export interface Kept {
  /** of the options */
  choice?: number;
  /** in the reader's own words */
  words?: string;
  /** whether the prediction stands */
  predicted?: boolean;
  /** whether the answer was shown */
  answered?: boolean;
  /** what was reached */
  met?: string;
  /** the state that reached it, as text */
  state?: string;
}

/** The steps of a class, as its link has them. */
export interface Course {
  /** numbers and ranges, "1,3,7-9"; "" is all */
  steps: string;
  title: string;
}

/** What core/strip.js needs of the worksheet's page. */
export interface Worksheet {
  STEPS: Step[];
  /** the numbers of a course's steps, in its order */
  orderOf: (steps: string) => number[];
  /** the state that a step's page opens with; null where its runs are missing */
  startOf: (step: Step, model: Model) => Promise<State | null>;
}

// --- figures

export type Ticks = (low: number, high: number) => [number, string][];

export interface FigureOptions {
  /** says what the figure shows */
  label: string;
  height?: number | ((width: number) => number);
  x: Range;
  y: Range;
  xLabel?: string;
  yLabel?: string;
  margin?: { left?: number; right?: number; top?: number; bottom?: number };
  xTicks?: Ticks;
  yTicks?: Ticks;
  /** vertical lines too */
  grid?: boolean;
  /** no lines at all */
  bare?: boolean;
  /** its axes grow where a hand waits beyond their end */
  reaches?: boolean;
  /** the lower end of y is where y ends */
  floor?: boolean;
}

/** One SVG figure with two axes. */
export interface Figure {
  root: SVGSVGElement;
  behind: SVGGElement;
  marks: SVGGElement;
  front: SVGGElement;
  margin: { left: number; right: number; top: number; bottom: number };
  /** the size of its words, 1 but in presenter mode */
  readonly type: number;
  /** what the axes span */
  readonly x: Range;
  readonly y: Range;
  readonly width: number;
  readonly height: number;
  /** from data to pixels, and back */
  sx(value: number): number;
  sy(value: number): number;
  ix(pixel: number): number;
  iy(pixel: number): number;
  /** Where a pointer is, in data coordinates. */
  at(event: { clientX: number; clientY: number }): [number, number];
  /** Whether drawing once more would be in vain: no place yet, or out of sight; then it is drawn when it comes into sight. */
  asleep(): boolean;
  /** What the axes span; the next `frame` draws it. An axis that is held takes it on release. */
  span(x?: Range, y?: Range): void;
  /** Which axes a hand holds. */
  readonly held: { x: boolean; y: boolean } | null;
  /** Keep the scale of these axes until `release`. */
  hold(axes: { x?: boolean; y?: boolean }): void;
  /** Let go: the axes take what was asked for meanwhile. */
  release(): void;
  /** what happens on release, where the page has its own way to settle */
  settled: (() => void) | null;
  /** Let a held axis reach a little farther on a side (-1, 0 or 1); whether an axis did. */
  reach(dx: number, dy: number): boolean;
  handles: Handle[];
  /** Measure the place there is and draw the axes; whether anything about them changed. */
  frame(): boolean;
  /** The outline through points; y beyond the figure is held just outside of it. */
  line(xs: ArrayLike<number>, ys: ArrayLike<number>): string;
  /** The same, closed along a level, for filling. */
  area(xs: ArrayLike<number>, ys: ArrayLike<number>, level?: number): string;
  path(attributes: Attributes<SVGPathElement>, where?: Element): SVGPathElement;
  /** called when its size changed; for its owner to set */
  resized(): void;
  remove(): void;
}

/** A part of a figure that is dragged. */
export interface Handle {
  element: SVGGElement;
  /** in pixels of the figure; null before it was placed */
  at: [number, number] | null;
  /** Put it there, in data coordinates. */
  place(x: number, y: number, text: string): void;
}

// --- runs

/** A run in a list (nelbo.studio.library). */
export interface RunEntry {
  run: string;
  /** the shortest end of its path that is the end of no other: what a link calls it */
  name?: string;
  /** false: it has none yet */
  weights?: boolean;
  /** of a run without weights, after how many epochs its checkpoint was made */
  checkpoint?: number | null;
  title: string;
  status: string;
  recipe?: string;
  latent?: number;
  data?: string;
  epochs?: number;
  of?: number;
  /** that its epochs took */
  seconds?: number | null;
  error?: string;
  terms?: { reconstruction_error: number | null; kl: number | null; nelbo: number | null };
}

export type Term = "reconstruction_error" | "kl" | "nelbo";

/** What "inspect.open" says of a run (nelbo.studio.inspect.opened). */
export interface RunInfo {
  title: string;
  /** as `RunEntry` has them */
  run: string;
  name: string;
  checkpoint: number | null;
  split: string;
  n: number;
  /** how many examples the part has, of which these are the first */
  of: number;
  latent: number;
  /** shape of an example */
  event: number[];
  /** the units shown at first */
  axes: number[];
  /** lower and upper ends of their plane */
  box: [number[], number[]];
  /** of what holds nearly all of the prior */
  prior_box: [number[], number[]];
  /** directions of the two principal components of the means */
  principal: number[][] | null;
  is_point: boolean;
  is_normal: boolean;
  standard_normal_prior: boolean;
  prior: string;
  posterior: string;
  likelihood: string;
  support: string;
  draws: number;
  label_names: string[] | null;
  kl_per_unit: (number | null)[];
  activity: number[];
  totals: Record<Term, { mean: number | null; standard_error: number | null }>;
  features: string[] | null;
  /** raw = (seen * std + mean) / scale; mean and std for each feature, or null */
  preparation: { mean: number[] | null; std: number[] | null; scale: number };
  /** least and largest value of each feature, where there are few */
  columns: { low: number[]; high: number[] } | null;
  /** least and largest value of the examples */
  range: Range;
  /** `Likelihood.browser_form`; null where only Python can tell the mean */
  picture: { family: string; scale?: number | number[] | null } | null;
  /** `Posterior.browser_form`, or a point; null where only Python can tell q(z|x) from the encoder's outputs */
  posterior_form: { family: string; log_scale?: number[] } | null;
  /** which networks a page can compute */
  in_page: { decoder: boolean; encoder: boolean };
  record: Record<string, any>;
  path: string | null;
}

/** One input under a model. */
export interface Example {
  row?: number | null;
  reconstruction_error: number | null;
  /** null where it is infinite: an autoencoder's */
  kl: number | null;
  nelbo: number | null;
  standard_errors: Partial<Record<string, number | null>>;
  /** of z, over which the terms are averaged */
  draws: number;
  /** -log p(x|z) at the mean of q */
  at_mean: number;
  x: Float32Array;
  reconstruction: Float32Array;
  mean: Float32Array;
  /** latent x latent */
  covariance: Float32Array;
  /** of each latent unit, where q and p factorize */
  kl_per_unit?: (number | null)[];
  /** -E[log p(x_i|z)] of each feature: the terms of the reconstruction error; null where they are not known */
  errors?: ArrayLike<number> | null;
  /** how the terms were found, where that is not by draws */
  how?: string;
  /** what stands for a term that is not known */
  missing?: string;
}

/** A normal distribution by its mean and a lower triangular root of its covariance; of a point, the root is 0. */
export interface Normal {
  mean: Float32Array;
  root: number[][];
}

/** Mean and covariance of q(z|x) over the whole latent space. */
export interface Moments {
  mean: Code;
  covariance: number[][];
}

/** What stands in a row of the inspector: the three numbers, and what they are of. */
export interface Shown {
  what: string;
  terms: Partial<Record<Term, number | null>> & { standard_errors?: Partial<Record<string, number | null>> };
  /** how the reconstruction error was found */
  how: string;
  /** instead of a number that is not known */
  missing: string;
  /** the model's, or the reader's own */
  q: Moments;
  isOwn: boolean;
  /** where the reader looks; null at the mean of q */
  z: Code | null;
  x: Float32Array;
  /** of each feature and of each unit; null where they are not known */
  errors: ArrayLike<number> | null;
  units: number[] | null;
}

/** The directions that a latent plane is spanned by. */
export interface Axes {
  /** as Python is asked for them; null for those it chooses */
  asked: number[] | string | null;
  /** orthonormal, one row for each axis */
  w: number[][];
  names?: string[];
}

/** Layers over a plane, n x n from the top down. */
export interface Plane {
  n: number;
  low: number[];
  high: number[];
  prior_box: number[][];
  /** how much of the prior's mass the holes hold, where they were asked for */
  holes?: { share: string; in_plane: string | null; level: number; examples: number };
  layers: Record<string, Float32Array>;
}

export type Code = ArrayLike<number>;

/** The terms of each example, as well as they are known, in nats: the one place that every number is read from. */
export interface Terms {
  values: Record<Term, Float64Array>;
  /** over the draws of z */
  errors: Record<Term, Float64Array>;
  draws: Float64Array;
  /** what they were when the run was opened, all over few draws: for means over all examples */
  opened: Record<Term, Float64Array>;
  /** Whether the terms of an example are over few draws only. */
  isRough(row: number): boolean;
  /** Take what is known of an example, if it is over more draws. */
  write(example: Example): void;
  /** Look closely at those that are rough, as long as `goesOn`; false where there is no Python to ask. */
  refine(rows: number[], goesOn?: () => boolean): Promise<boolean>;
  /** The rows themselves, in place: the first `count` in their order, the others behind them. */
  sort(rows: number[], term: Term, largest: boolean, count?: number): number[];
  /** The same, after those in front were looked at closely. */
  ranked(rows: number[], term: Term, largest: boolean, count: number, goesOn?: () => boolean): Promise<number[]>;
  /** The example with the most, or the least, of a term. */
  extreme(term: Term, largest: boolean): Promise<number>;
  /** How many examples of the set have a lower value, from 0 to n. */
  rank(term: Term, value: number): number;
  /** The value that a share of the examples stays below. */
  quantile(term: Term, share: number): number;
  /** Call when a value changed; returns what ends that. */
  listen(listener: () => void): () => void;
}

/** A run as the inspector sees it: its examples in latent space, their terms, and its networks, here or in Python. */
export interface Source {
  run: string;
  split: string;
  info: RunInfo;
  /** numbers in an example */
  features: number;
  mean: Float32Array;
  sd: Float32Array;
  labels: Float32Array;
  n: number;
  /** whether all examples were asked for; else it holds the first */
  isWhole: boolean;
  latent: number;
  /** the values of `loss` */
  terms: Record<Term, Float64Array>;
  loss: Terms;
  /** which values are black and white */
  range: Range;
  /** whether a decoding costs less than a frame, because it happens here */
  readonly isLocal: boolean;
  /** whether q(z|x) and the terms of an input cost less than a frame too */
  readonly isEncoded: boolean;
  /** whether any code can be decoded exactly, and any input encoded: here or in Python */
  canDecode: boolean;
  canEncode: boolean;
  /** The posterior mean of an example. */
  meanOf(row: number): Float32Array;
  /** The mean of p(x|z), at once; null where Python has to be asked. */
  decodeNow(z: Code): Float32Array | null;
  /** -log p(x|z) in nats, at once; null where Python has to be asked. */
  errorNow(z: Code, x: Float32Array): number | null;
  /** The reconstruction error under a normal q, at once, what each feature costs, and how they were found; null where Python has to be asked. */
  errorUnder(
    x: Float32Array,
    mean: Code,
    covariance: number[][],
  ): { reconstruction_error: number; errors: Float64Array; how: string } | null;
  /** An input of one's own, at once; null where Python has to be asked. */
  encodeNow(x: Float32Array): Example | null;
  /** -log p(x|z) in nats, and that of each feature, at once; null where Python has to be asked. */
  errorsNow(z: Code, x: Float32Array): { sum: number; errors: Float64Array } | null;
  /** The same, from Python where it has to be asked; `errors` is null where p(x|z) does not factorize. */
  errorsAt(z: Code, x: Float32Array): Promise<{ sum: number; errors: ArrayLike<number> | null }>;
  /** The means of p(x|z) of several codes, one after the other. */
  decode(codes: Code[]): Promise<Float32Array>;
  /** whether the last `decode` was put together from `grid` */
  isBlended: boolean;
  /** A picture between those of the decoded grid, until the decoder's own comes; null where there is no grid. */
  blend(z: Code): Float32Array | null;
  /** An example, looked at closely; in a file without Python, one that did not travel is put together here. */
  example(row: number): Promise<Example>;
  /** Inputs of some examples, and their reconstructions: [x, reconstruction] each. */
  glance(rows: number[]): Promise<Float32Array[][]>;
  /** Inputs of some examples. */
  inputs(rows: number[]): Promise<Float32Array[]>;
  /** What gives the values of a feature of all examples, as the model sees them. */
  columns(): Promise<(feature: number) => Float32Array>;
  /** An input of one's own, its terms over so many draws of z; null where it need not go on. */
  encode(x: Float32Array, draws: number, goesOn?: () => boolean): Promise<Example | null>;
  /** The terms of an input under a normal q of one's own, over many draws; null where it need not go on. */
  termsUnder(x: Float32Array, mean: Code, covariance: number[][], goesOn?: () => boolean): Promise<any>;
  /** Layers over the plane of these axes through `at`, between these ends, else in the box that Python chooses. */
  plane(
    axes: Axes,
    layers: string[],
    n: number,
    at?: number[] | null,
    ends?: { low: number[]; high: number[] } | null,
  ): Promise<Plane>;
  /** Lower and upper ends of the plane of these axes, and of what holds the prior in it. */
  boxes(axes: Axes): Promise<{ whole: number[][]; prior: number[][] }>;
  /** Pictures over a view of a plane, else over all of it, from the top down; decoded here where the decoder is. */
  decodedGrid(axes: Axes, at: number[] | null, view?: { x: Range; y: Range } | null): Promise<Plane>;
  /** the decoded grid of a plane that is all of the latent space, from Python */
  grid: Plane | null;
  /** Fetch the decoder, where a page can compute it, so that pictures follow the hand. */
  fetchDecoder(): Promise<void>;
  /** The same with the encoder, so that an input of one's own is followed too. */
  fetchBoth(): Promise<any>;
  /** Examples nearest to a code in the latent space, nearest first. */
  nearest(z: Code, count: number): number[];
  className(row: number): string | null;
}
