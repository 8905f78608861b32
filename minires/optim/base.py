"""What all optimizers share. An optimizer reads ``Parameter.grad`` and moves ``Parameter.data`` in place."""

import inspect

import numpy as np

from minires.checks import InvalidArgument, real, whole
from minires.layer import Parameter
from minires.optim.schedules import Schedule
from minires.pytorch import no_attribute


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
    note = ""  # what run.json says of the rule

    def __init__(self, parameters, lr, **settings):
        self.lr = lr
        self.steps = 0
        self.groups = [self._group(group, settings) for group in self._as_groups(parameters)]
        parameters = self.parameters()
        self._memory = [{} for _ in parameters]  # arrays by name; by position, so that a copy or a pickle keeps them
        if len({id(parameter) for parameter in parameters}) < len(parameters):
            raise ValueError(
                f"{self._who}: a parameter was given twice, so each step would move it twice. Give each one once."
            )

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

    @property
    def _who(self):
        return type(self).__name__

    def _as_groups(self, parameters):
        if isinstance(parameters, (Parameter, dict)):
            parameters = [parameters]
        given = list(parameters) if hasattr(parameters, "__iter__") else None  # once: it may be a generator
        if given is None:
            raise InvalidArgument(
                f"{self._who}: expected a list of Parameters, got {type(parameters).__name__}. Use net.parameters()."
            )
        if not given or not all(isinstance(item, dict) for item in given):
            given = [{"parameters": given}]
        for group in given:
            if not hasattr(group.get("parameters"), "__iter__"):
                raise InvalidArgument(
                    f'{self._who}: a group is a dict with a list under the key "parameters", got the keys '
                    f"{sorted(group)}."
                )
        groups = [{**group, "parameters": list(group["parameters"])} for group in given]
        for group in groups:
            if not group["parameters"]:
                raise InvalidArgument(f"{self._who}: got an empty list of parameters. Was a generator used up before?")
            for item in group["parameters"]:
                if not isinstance(item, Parameter):
                    raise InvalidArgument(
                        f"{self._who}: expected Parameters, got {type(item).__name__}. Use net.parameters()."
                    )
        return groups

    def _group(self, group, common):
        unknown = sorted(group.keys() - common.keys() - {"parameters", "lr"})
        if unknown:
            known = ", ".join(["lr", *common])
            raise InvalidArgument(f"{self._who}: unknown setting {unknown[0]!r} of a group; known: {known}.")
        if "lr" in group and self.lr == 0:
            raise ValueError(
                f"{self._who}: the lr of a group is kept in proportion to the common lr, which must then be > 0."
            )
        factor = real(self._who, "lr", group["lr"], least=0) / self.lr if "lr" in group else 1.0
        own = {name: group.get(name, value) for name, value in common.items()}
        return {"parameters": group["parameters"], **self._settings({"lr_factor": factor, **own})}

    def _settings(self, settings):
        """The settings of a group, checked. What kind of value each is, its default says."""
        defaults = {name: p.default for name, p in inspect.signature(type(self)).parameters.items()}
        checked = {}
        for name, value in settings.items():
            default = defaults.get(name)
            if isinstance(default, bool):
                if not isinstance(value, (bool, np.bool_)):
                    raise InvalidArgument(f"{self._who}: expected {name}, True or False, got {value!r}.")
                checked[name] = bool(value)
            elif isinstance(default, tuple):
                if not isinstance(value, (tuple, list)) or len(value) != len(default):
                    raise InvalidArgument(f"{self._who}: expected {name}, numbers such as {default}, got {value!r}.")
                checked[name] = tuple(real(self._who, name, number, least=0) for number in value)
            else:
                checked[name] = real(self._who, name, value, least=0)
        self.check(checked)
        return checked

    def parameters(self):
        """All parameters, group after group."""
        return [parameter for group in self.groups for parameter in group["parameters"]]

    def zero_grad(self):
        """Set the gradient of every parameter to zero, as before each step."""
        for parameter in self.parameters():
            parameter.grad.fill(0)

    def step(self):
        """Move every parameter one step down its gradient."""
        self.steps += 1
        memories = iter(self._memory)
        for group in self.groups:
            lr = self.lr * group["lr_factor"]
            for parameter, memory in zip(group["parameters"], memories):
                for name, array in memory.items():  # another dtype after net.astype
                    memory[name] = array.astype(parameter.data.dtype, copy=False)
                self.move(parameter.data, parameter.grad, lr, memory, group)

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
        if not isinstance(state, dict) or state.keys() != set(names):
            got = f"the keys {', '.join(map(str, state))}" if isinstance(state, dict) else type(state).__name__
            raise InvalidArgument(f"{who}: expected a state with {', '.join(names)}, got {got}. Is it another rule's?")
        lr, steps = real(who, "lr", state["lr"], least=0), whole(who, "steps", state["steps"])
        for name in names[2:]:
            if not isinstance(state[name], (list, tuple)):
                raise InvalidArgument(f"{who}: expected {name}, a list, got {type(state[name]).__name__}.")
        for name in self.remembers:
            if len(state["groups"]) != len(self.groups) or len(state[name]) != len(parameters):
                raise InvalidArgument(
                    f"{who}: expected the state of {len(self.groups)} groups with {len(parameters)} parameters, got "
                    f"{len(state['groups'])} with {len(state[name])}. Is it the same network, split the same way?"
                )
        groups = []
        for own, settings in zip(self.groups, state["groups"]):
            if not isinstance(settings, dict) or settings.keys() != own.keys() - {"parameters"}:
                wanted = ", ".join(sorted(own.keys() - {"parameters"}))
                raise InvalidArgument(f"{who}: expected the settings {wanted} of a group, got {settings!r}.")
            groups.append(self._settings(settings))
        memory = [
            {name: self._array(name, i, state[name][i]) for name in self.remembers if state[name][i] is not None}
            for i in range(len(parameters))
        ]
        for index, kept in enumerate(memory):
            if 0 < len(kept) < len(self.remembers):
                raise InvalidArgument(f"{who}: of parameter {index} there is {', '.join(kept)} alone. Is it damaged?")
        return lr, steps, groups, memory

    def _array(self, name, index, array):
        """A copy of what is remembered of one parameter, in the parameter's dtype."""
        wanted = self.parameters()[index].data
        which = f"{self._who}: expected the {name} of parameter {index}"
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            raise InvalidArgument(
                f"{which} as an array of floats, got {getattr(array, 'dtype', type(array).__name__)}."
            )
        if array.shape != wanted.shape:
            raise InvalidArgument(f"{which} of shape {wanted.shape}, got {array.shape}. Is it the same network?")
        with np.errstate(over="ignore"):
            array = array.astype(wanted.dtype)
        if not np.isfinite(array).all():
            raise InvalidArgument(f"{which} to be finite in {wanted.dtype}, got NaN, infinity or a number too large.")
        return array

    def __getattr__(self, name):
        raise no_attribute(self, "optimizer", name)

    def __repr__(self):
        def text(group):
            return ", ".join(f"{k}={v}" for k, v in group.items() if k not in ("parameters", "lr_factor"))

        return f"{self._who}(lr={self.lr}, {'; '.join(text(group) for group in self.groups)})"
