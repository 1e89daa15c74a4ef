"""Real texts for the tests of the text modality: short, in the public domain, in many languages."""

from __future__ import annotations

ENGLISH = """\
The mount command attaches the filesystem found on a device to the big file tree. Conversely, the umount command will
detach it again. The filesystem is used to control how data is stored on the device or provided in a virtual way by
network or other services.

The standard form of the command is: mount -t type device dir. This tells the kernel to attach the filesystem found on
the device (which is of the given type) at the directory. The option -t is optional, for the command is usually able to
detect a filesystem. The root permissions are necessary to mount a filesystem by default.

If only the directory or the device is given, then the command looks for a mount point, and if it is not found then for
a device, in the file that lists the filesystems of this machine. It is possible to use options to avoid ambiguous
interpretation of the given argument, and the listing and help are as they have always been.
"""

POEMS = """\
静夜思
床前明月光，疑是地上霜。
举头望明月，低头思故乡。

春晓
春眠不觉晓，处处闻啼鸟。
夜来风雨声，花落知多少。

登鹳雀楼
白日依山尽，黄河入海流。
欲穷千里目，更上一层楼。

相思
红豆生南国，春来发几枝。
愿君多采撷，此物最相思。
"""

CHINESE = """\
挂载命令把设备上的文件系统连接到整个文件树上。相反，卸载命令会把它再次分离。文件系统用来控制数据如何存储在设备上，
或者由网络以及其他服务以虚拟的方式提供。如果只给出了目录或者设备，那么这个命令会在列出本机文件系统的文件里寻找挂载点，
如果没有找到，就寻找设备。用户可以使用选项来避免对所给参数的歧义解释。默认情况下，挂载文件系统需要管理员的权限。
"""

DECLARATION = {
    "en": "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience"
    " and should act towards one another in a spirit of brotherhood.",
    "zh": "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt"
    " und sollen einander im Geist der Brüderlichkeit begegnen.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de"
    " conscience et doivent agir les uns envers les autres dans un esprit de fraternité.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón y"
    " conciencia, deben comportarse fraternalmente los unos con los otros.",
    "it": "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Essi sono dotati di ragione e di"
    " coscienza e devono agire gli uni verso gli altri in spirito di fratellanza.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью и"
    " должны поступать в отношении друг друга в духе братства.",
    "pl": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Są oni obdarzeni rozumem i"
    " sumieniem i powinni postępować wobec innych w duchu braterstwa.",
    "ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。"
    "人間は、理性と良心とを授けられており、互いに同胞の精神をもって行動しなければならない。",
    "ar": "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق. وقد وهبوا عقلا وضميرا وعليهم أن يعامل بعضهم بعضا بروح"
    " الإخاء.",
}
"""Article 1 of the Universal Declaration of Human Rights."""
