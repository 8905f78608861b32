"""What all optimizers share. An optimizer reads ``Parameter.grad`` and moves ``Parameter.data`` in place."""

import inspect

import numpy as np

from minires.checks import like_default, loadable, real, require, shown, some, whole
from minires.optim.schedules import Schedule
from minires.parameter import Parameter
from minires.pytorch import explained

HINT = "Use net.parameters()."


class Optimizer:
    """What all optimizers share: groups of parameters with their settings, the rate, and what a rule remembers.

    A rule is one class with one method, ``move``, and the names of the arrays that it keeps for each parameter::

        class Momentum(Optimizer):
            remembers = ("velocity",)

            def __init__(self, parameters, lr, momentum=0.9):
                super().__init__(parameters, lr, momentum=momentum)

            def move(self, p, g, lr, memory, settings):
                v = settings["momentum"] * memory.get("velocity", 0) + g
                memory["velocity"] = v
                p -= lr * v

    Parameters
    ----------
    parameters : Parameters, or dicts of one group each
        ``net.parameters()``, or a list such as ``[{"parameters": weights}, {"parameters": rest, "weight_decay": 0}]``.
        A group may set any of the settings for itself. Its ``lr`` counts in proportion: a group made with a
        tenth of the common rate stays at a tenth of it when a schedule sets ``optimizer.lr``.
    lr : float
        Learning rate; set it before any step with ``optimizer.lr = ...``.
    **settings
        Numbers of at least 0, True or False where the default is one of them, a tuple where the default is one.

    Attributes
    ----------
    steps : int
        Taken so far.
    """

    remembers = ()
    least = {}  # the smallest number that what is remembered under a name may hold
    note = ""  # what run.json says of the rule

    def __init__(self, parameters, lr, **settings):
        self.lr, self.steps = lr, 0
        given = [parameters] if isinstance(parameters, (Parameter, dict)) else parameters
        require(np.iterable(given), self._who, "a list of Parameters", type(given).__name__, HINT)
        given = list(given)  # once: it may be a generator
        if not given or not all(isinstance(item, dict) for item in given):
            given = [{"parameters": given}]
        self.groups = [self._group(group, settings) for group in given]
        parameters = self.parameters()
        once, hint = len({*map(id, parameters)}) == len(parameters), "Each step would move it twice."
        require(once, self._who, "each parameter once", "one given twice", hint)
        self._memory = [{} for _ in parameters]  # arrays by name; by position, so that a copy or a pickle keeps them

    def move(self, p, g, lr, memory, settings):
        """Change the array p in place, given its gradient g; ``memory`` holds arrays of p's shape from step to step."""
        raise NotImplementedError(f"{self._who}.move(p, g, lr, memory, settings) is not written yet.")

    def check(self, settings):
        """Raise ValueError where the settings of a group, each right by itself, do not go together."""

    @property
    def lr(self):
        """The learning rate. A group with a rate of its own follows in proportion."""
        return self._lr

    @lr.setter
    def lr(self, lr):
        hint = "A schedule goes to train(..., schedule=...)." if isinstance(lr, Schedule) else ""
        self._lr = real(self._who, "lr", lr, least=0, hint=hint)

    _who = property(lambda self: type(self).__name__)

    def _group(self, group, common):
        """A group as it was given, checked, with all settings."""
        who, parameters = self._who, group.get("parameters")
        wanted = 'a group to have a list under the key "parameters"'
        require(hasattr(parameters, "__iter__"), who, wanted, f"the keys {sorted(group)}")
        parameters = list(parameters)
        require(parameters, who, "Parameters", "an empty list of parameters", "Was a generator used up before?")
        for item in parameters:
            require(isinstance(item, Parameter), who, "Parameters", type(item).__name__, HINT)
        unknown, known = sorted(group.keys() - common.keys() - {"parameters", "lr"}), ", ".join(["lr", *common])
        got = f"the unknown setting {some(map(repr, unknown))}"
        require(not unknown, who, f"a group with settings among {known}", got)
        hint = "The lr of a group is kept in proportion to it."
        require("lr" not in group or self.lr > 0, who, "a common lr above 0", self.lr, hint)
        factor = real(who, "lr", group["lr"], least=0) / self.lr if "lr" in group else 1.0
        own = {name: group.get(name, value) for name, value in common.items()}
        return {"parameters": parameters, **self._settings({"lr_factor": factor, **own})}

    def _settings(self, settings):
        """The settings of a group, checked. What kind of value each is, its default says."""
        defaults = {name: argument.default for name, argument in inspect.signature(type(self)).parameters.items()}
        checked = {n: like_default(self._who, n, value, defaults.get(n)) for n, value in settings.items()}
        self.check(checked)
        return checked

    def parameters(self):
        """All parameters, group after group."""
        return [parameter for group in self.groups for parameter in group["parameters"]]

    def zero_grad(self):
        """Set the gradient of every parameter to zero, as before each step."""
        for parameter in self.parameters():
            parameter.grad.fill(0)

    @np.errstate(under="ignore")  # of the squares of small gradients
    def step(self):
        """Move every parameter one step down its gradient."""
        self.steps += 1
        memories = iter(self._memory)
        for group in self.groups:
            lr = self.lr * group["lr_factor"]
            for parameter, memory in zip(group["parameters"], memories):
                p = parameter.data
                memory.update({k: array.astype(p.dtype, copy=False) for k, array in memory.items()})  # after net.astype
                self.move(p, parameter.grad, lr, memory, group)

    def state_dict(self):
        """Return {"lr", "steps", "groups": settings of each, and by name what is remembered: a list of arrays or None}.

        The arrays are copies, one for each parameter; None where there is none yet.
        """
        remembered = {
            name: [memory[name].copy() if name in memory else None for memory in self._memory]
            for name in self.remembers
        }
        groups = [{k: v for k, v in group.items() if k != "parameters"} for group in self.groups]
        return {"lr": self.lr, "steps": self.steps, "groups": groups, **remembered}

    def load_state_dict(self, state):
        """Take over what ``state_dict`` returned; everything is checked before anything is changed."""
        lr, steps, groups, memory = self.check_state_dict(state)
        self.lr, self.steps, self._memory = lr, steps, memory
        for group, settings in zip(self.groups, groups):
            group.update(settings)

    def check_state_dict(self, state):
        """Raise ValueError unless the state is of an optimizer of the same parameters; return its checked parts."""
        who, parameters, names = self._who, self.parameters(), ("lr", "steps", "groups", *self.remembers)
        is_dict = isinstance(state, dict)
        got = f"the keys {', '.join(map(str, state))}" if is_dict else type(state).__name__
        fits = is_dict and state.keys() == set(names)
        require(fits, who, f"a state with {', '.join(names)}", got, "Is it another rule's?")
        lr, steps = real(who, "lr", state["lr"], least=0), whole(who, "steps", state["steps"])
        for name, count in {"groups": len(self.groups), **dict.fromkeys(self.remembers, len(parameters))}.items():
            got = len(state[name]) if isinstance(state[name], (list, tuple)) else shown(state[name])
            require(got == count, who, f"{name}, a list of {count}", got, "Is it the same network, split the same way?")
        groups = []
        for own, settings in zip(self.groups, state["groups"]):
            wanted = own.keys() - {"parameters"}
            fits = isinstance(settings, dict) and settings.keys() == wanted
            require(fits, who, f"the settings {', '.join(sorted(wanted))} of a group", shown(settings))
            groups.append(self._settings(settings))
        memory = [self._remembered(i, parameter.data, state) for i, parameter in enumerate(parameters)]
        return lr, steps, groups, memory

    def _remembered(self, i, old, state):
        """Copies of the arrays that a state remembers of parameter i, checked."""
        kept = {name: state[name][i] for name in self.remembers if state[name][i] is not None}
        alone = f"of parameter {i} there is {', '.join(kept)} alone"
        fits = len(kept) in (0, len(self.remembers))
        require(fits, self._who, f"all of {', '.join(self.remembers)}", alone, "Is it damaged?")
        for name, array in kept.items():
            which, got = f"the {name} of parameter {i}", getattr(array, "dtype", type(array).__name__)
            floats = isinstance(array, np.ndarray) and array.dtype.kind == "f"
            require(floats, self._who, f"{which} as an array of floats", got)
            kept[name] = loadable(self._who, which, old, array, self.least.get(name)).copy()
        return kept

    __getattr__ = explained("optimizer")

    def __repr__(self):
        texts = [[f"{k}={v}" for k, v in g.items() if k not in ("parameters", "lr_factor")] for g in self.groups]
        return f"{self._who}(lr={self.lr}, {'; '.join(map(', '.join, texts))})"
