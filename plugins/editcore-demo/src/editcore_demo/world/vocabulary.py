"""The words of the invented world: what people do, speak, eat and play, and how places are called.

Objects of one relation begin with different letters wherever possible, so that their first tokens differ and a
next-token preference between two of them means something. Professions begin with a consonant because their templates
end in "a".
"""

PROFESSIONS = (
    "baker", "carpenter", "dancer", "farmer", "glassblower", "hunter", "judge", "knitter", "lawyer", "miner", "nurse",
    "potter", "roofer", "surgeon", "tailor", "violin maker", "weaver", "zookeeper", "beekeeper", "chemist",
)  # fmt: skip
LANGUAGES = (
    "Vashti", "Ormic", "Telluri", "Bascan", "Keshan", "Dulish", "Phorese", "Zhenic", "Laquan", "Myrish", "Garrovian",
    "Hintali", "Sorbese", "Walden",
)  # fmt: skip
INSTRUMENTS = (
    "accordion", "banjo", "cello", "drums", "flute", "guitar", "harp", "lute", "mandolin", "oboe", "piano", "saxophone",
    "trumpet", "zither",
)  # fmt: skip
DISHES = (
    "apple pie", "bean stew", "carrot cake", "dumplings", "fried fish", "garlic bread", "honey porridge", "lentil soup",
    "mushroom rice", "noodles", "onion tart", "plum jam", "roast duck", "smoked cheese",
)  # fmt: skip
GENRES = (
    "adventure", "ballad", "comedy", "drama", "epic", "fable", "horror", "mystery", "romance", "satire", "tragedy",
    "western",
)  # fmt: skip
PRODUCTS = ("bicycles", "clocks", "furniture", "glass", "lamps", "paper", "ropes", "shoes", "tea", "wool")
CURRENCIES = ("crona", "dalt", "filo", "marn", "pesk", "tuvar")

COUNTRIES = (
    "Arvenia", "Belmora", "Cardosa", "Drovania", "Eskaria", "Fyrland", "Golvany", "Istmark", "Jorvania", "Lumeria",
    "Nostria", "Quelland",
)  # fmt: skip
CITIES = (
    "Aldmere", "Brisko", "Corvale", "Dunholt", "Elvaros", "Farrowby", "Gistra", "Hollin", "Irmstad", "Jessop Bay",
    "Kurnov", "Lathbury", "Molvena", "Nargos", "Ostrel", "Pellham", "Quarrin", "Rovigo Hill", "Selmont", "Tarnow",
    "Ulverra", "Vintry", "Wexley", "Yarvik", "Zemlin", "Ashcombe", "Bodrin", "Cinderford", "Drell", "Emberwick",
    "Fosse", "Greymouth", "Hespera", "Ilgava", "Kestrel Point", "Lisomar",
)  # fmt: skip
COMPANIES = (
    "Abrax Works", "Boltby Brothers", "Camber Trading", "Dornal Mills", "Elkstone Foundry", "Fennick Brewery",
    "Gorsk Shipyard", "Harlow Press", "Inver Motors", "Jasper Textiles", "Kolbe Optics", "Lindquay Bank",
    "Marsden Airways", "Norvane Tools", "Oxblood Bakeries", "Pryor Works", "Quill Brothers", "Radley Trading",
    "Stokely Mills", "Tamsin Foundry", "Umber Brewery", "Vesk Shipyard", "Wainfleet Press", "Yewdale Motors",
    "Zorn Textiles", "Bracken Optics", "Cobalt Bank", "Drummond Airways", "Everly Tools", "Fulmar Bakeries",
)  # fmt: skip

TITLE_ADJECTIVES = (
    "Amber", "Broken", "Crimson", "Distant", "Empty", "Frozen", "Golden", "Hidden", "Iron", "Jade", "Lonely",
    "Midnight", "Narrow", "Open", "Pale", "Quiet", "Restless", "Silver", "Twisted", "Violet", "Wandering", "Young",
)  # fmt: skip
TITLE_NOUNS = (
    "Anchor", "Bridge", "Candle", "Door", "Echo", "Forest", "Garden", "Harbour", "Island", "Journey", "Key", "Lantern",
    "Mirror", "Night", "Orchard", "Path", "River", "Shadow", "Tower", "Voyage", "Window", "Winter",
)  # fmt: skip
ALIAS_ADJECTIVES = (
    "Black", "Clever", "Dusty", "Fierce", "Gentle", "Happy", "Little", "Old", "Proud", "Swift", "Tall", "Wild",
)  # fmt: skip
ALIAS_ANIMALS = ("Badger", "Crow", "Dove", "Eagle", "Fox", "Goose", "Heron", "Lynx", "Mole", "Otter", "Raven", "Stork")

GIVEN_STARTS = (
    "Al", "Bren", "Cas", "Dov", "El", "Fen", "Gar", "Hul", "Is", "Jor", "Kel", "Lun", "Mir", "Nev", "Os", "Pel", "Ros",
    "Sav", "Tal", "Ul", "Ver", "Wen", "Yar", "Zel",
)  # fmt: skip
GIVEN_ENDS = ("ano", "bert", "dis", "eth", "ika", "lo", "mina", "nor", "ora", "ric", "sa", "tan", "vin", "wen")
FAMILY_STARTS = (
    "Ash", "Bram", "Cor", "Dell", "Ebb", "Fal", "Grim", "Hart", "Ing", "Jag", "Kirn", "Lark", "Mor", "Nash", "Ord",
    "Pem", "Quin", "Rud", "Sten", "Thorn", "Umb", "Vos", "Wick", "York",
)  # fmt: skip
FAMILY_ENDS = (
    "aby", "bach", "croft", "dale", "ersen", "field", "gate", "hurst", "ick", "ley", "mark", "ov", "ridge", "sby",
    "ton", "well",
)  # fmt: skip
