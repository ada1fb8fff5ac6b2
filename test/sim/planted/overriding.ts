/** An object as it is, but for some of its methods. */
export function overriding<Target extends object>(target: Target, methods: Partial<Target>): Target {
  return new Proxy(target, {
    get(original, name) {
      const replaced: unknown = Reflect.get(methods, name);
      const member = replaced ?? Reflect.get(original, name, original);
      return typeof member === 'function' ? member.bind(original) : member;
    },
  });
}
